"""What all tests share: where Chromium is, and a real server to point it at."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django import DjangoDbBlocker

from tests.servers import Server

CHROMIUM = os.environ.get("KAFKALAB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
IN_CI = os.environ.get("CI", "").lower() == "true"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without Chromium a browser test is skipped here, and fails in CI: there nobody would notice a skip."""
    if item.get_closest_marker("browser") and not CHROMIUM:
        missing = "no Chromium: install Debian's `chromium`, or name one in KAFKALAB_CHROMIUM"
        pytest.fail(missing, pytrace=False) if IN_CI else pytest.skip(missing)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """PostgreSQL drops no database that somebody is connected to, and the threads of asynchronous tests leave sessions behind."""
    yield
    with django_db_blocker.unblock():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own, as `make run` starts it, with an empty database."""
    with Server(tmp_path_factory.mktemp("site")) as server:
        yield server.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Per module, because Playwright keeps an event loop running that asynchronous tests would trip over."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage"] if Path("/.dockerenv").exists() or os.geteuid() == 0 else [],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser, site: str) -> Iterator[BrowserContext]:
    """A fresh visitor. What is wrong in the page fails the test: errors, and whatever the security policy refused."""
    context = browser.new_context(base_url=site, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(20_000)
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on(
        "console",
        lambda message: wrong.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield context
    context.close()
    assert not wrong, "the page reported: " + "; ".join(wrong)


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """One tab of that visitor."""
    return context.new_page()
