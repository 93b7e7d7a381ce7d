"""A page with a lab open in it, and everything here marked as needing a browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import LabPage

HERE = Path(__file__).parent
expect.set_options(timeout=20_000)  # what takes half a second may take ten on a machine that does ten other things


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def lab(page: Page) -> LabPage:
    """The free lab, as one click on the front page opens it."""
    page.goto("/")
    page.get_by_role("button", name="Open the lab").click()
    return LabPage(page).ready()
