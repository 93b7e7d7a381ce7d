"""axe-core finds nothing on any page, light or dark, wide or narrow; every action is reached by keyboard, and focus is seen."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.lab import LabPage

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
VIEWS = ["Cluster", "Log", "Groups", "Transactions", "Network", "Metrics", "Bytes", "Ledger", "Text"]
WALK = """
() => {
  const stops = 'a[href], button, input, select, textarea, summary, [tabindex]';
  return [...document.querySelectorAll(stops)].filter(item => {
    if (item.disabled || item.tabIndex < 0 || !item.checkVisibility({ visibilityProperty: true })) return false;
    if (item.type === 'radio') return item.checked || !document.querySelector(`input[name="${item.name}"]:checked`);
    return true;
  }).map((item, index) => { item.dataset.stop = index; return item.outerHTML.slice(0, 120); });
}
"""
SETTLED = """
() => {
  const now = document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]').length;
  window.still = now === window.stops ? (window.still ?? 0) + 1 : 0;
  window.stops = now;
  return window.still >= 5;
}
"""
FOCUS = """
() => {
  const item = document.activeElement;
  const seen = getComputedStyle(item);
  const shown = item.type === 'radio' ? getComputedStyle(item.nextElementSibling ?? item) : seen;
  return { stop: item.dataset.stop ?? '', body: item === document.body, ring: shown.outlineStyle !== 'none' };
}
"""


def violations(page: Page, within: str = "html") -> list[str]:
    page.wait_for_load_state()  # a click returns when the next page is under way, not when it is there
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate(
        "([rules, within]) => axe.run(within, { runOnly: rules, resultTypes: ['violations'] })", [RULES, within]
    )
    return [
        f"{item['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for item in found["violations"]
        for node in item["nodes"]
    ]


@pytest.fixture(params=["light", "dark"])
def coloured(browser: Browser, site: str, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=site, viewport={"width": 1440, "height": 900}, color_scheme=request.param, reduced_motion="reduce"
    )
    yield context
    context.close()


@pytest.mark.parametrize("path", ["/", "/curriculum/", "/nothing-is-here/"])
def test_axe_finds_nothing_on_the_pages(coloured: BrowserContext, path: str) -> None:
    page = coloured.new_page()
    page.goto(path)
    assert not violations(page)


def test_axe_finds_nothing_in_the_lab(coloured: BrowserContext) -> None:
    page = coloured.new_page()
    page.goto("/")
    page.get_by_role("button", name="Open the lab").click()
    lab = LabPage(page).ready()
    lab.produce(5)
    lab.create_consumer("app-1", "orders", group_id="readers")
    lab.create_producer("payer", "acks=all", transactional_id="pay-1")
    expect(page.locator('#view-cluster [data-object="app-1"]')).to_contain_text("orders-0", timeout=15_000)
    lab.do("payer", "Begin a transaction")
    lab.produce(2, producer="payer")
    lab.do("broker-2", "Kill")
    expect(lab.machine("broker-2")).to_contain_text("down")
    page.locator('[data-transport="pause"]').click()
    page.locator("#feed .why").first.click()
    for view in VIEWS:
        lab.show(view)
        expect(page.locator(f"#view-{view.lower()} > *")).not_to_have_count(0)
        assert not violations(page), view
    lab.show("Cluster")
    lab.menu("broker-1")
    assert not violations(page), "menu"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Produce…").first.click()
    assert not violations(page), "dialog"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Pause when…").click()
    assert not violations(page), "breakpoints"


def test_axe_finds_nothing_in_menus_and_dialogs_of_groups_transactions_and_access(coloured: BrowserContext) -> None:
    page = coloured.new_page()
    page.goto("/")
    page.get_by_role("button", name="Open the lab").click()
    lab = LabPage(page).ready()
    lab.create_consumer("app-1", "orders", group_id="readers", protocol="consumer")
    lab.create_producer("payer", "acks=all", transactional_id="pay-1")
    groups = lab.show("Groups")
    expect(groups.locator(".a-state.now")).to_have_text("Stable")
    dialogs = {"Groups": ["+ Consumer in a group"], "Transactions": ["+ Transactional producer"]}
    dialogs["Metrics"] = ["Quota…", "User…", "ACL…", "Fork with an authorizer…"]
    for view, buttons in dialogs.items():
        shown = lab.show(view)
        for button in buttons:
            shown.get_by_role("button", name=button).click()
            expect(page.get_by_role("dialog")).to_be_visible()
            assert not violations(page, "#command-dialog"), button
            page.keyboard.press("Escape")
            expect(shown.get_by_role("button", name=button)).to_be_focused()
    for view, button in {"Groups": "Actions…", "Transactions": "payer"}.items():
        lab.show(view).get_by_role("button", name=button).click()
        expect(page.get_by_role("menu")).to_be_visible()
        assert not violations(page, "#object-menu"), button
        page.keyboard.press("Escape")
    coordinator = re.search(r"coordinator: broker (\d)", lab.show("Groups").inner_text())
    assert coordinator
    lab.show("Cluster")
    lab.do(f"broker-{coordinator[1]}", "Kill")
    page.locator('[data-transport="pause"]').click()
    expect(lab.show("Groups").locator("[data-absent]")).to_be_visible()
    assert not violations(page, "#view-groups"), "no coordinator"


@pytest.mark.parametrize("lesson", ["topics-partitions-offsets", "acks", "broker-down"])
def test_axe_finds_nothing_in_a_lesson(coloured: BrowserContext, lesson: str) -> None:
    page = coloured.new_page()
    page.goto("/")
    page.locator(f'a[href*="{lesson}"]').first.click()
    assert not violations(page), "first page of the lesson"
    page.locator('main form button[type="submit"]').click()
    LabPage(page).ready()
    page.locator('[data-transport="pause"]').click()
    page.get_by_role("button", name=re.compile("[Hh]int")).first.click()
    page.get_by_role("button", name=re.compile("solution")).first.click()
    prediction = page.locator(".predict form").first
    if prediction.get_by_role("radio").count():
        prediction.get_by_role("radio").first.check()
    else:
        prediction.locator('input[name="answer"]').fill("1")
    prediction.get_by_role("button").click()
    expect(page.locator(".predict .verdict").first).to_be_visible()
    assert not violations(page), "lesson"


def test_axe_finds_nothing_where_two_futures_are_compared(coloured: BrowserContext) -> None:
    page = coloured.new_page()
    page.goto("/")
    page.get_by_role("button", name="Open the lab").click()
    LabPage(page).ready().produce(3)
    page.get_by_role("button", name="Fork here").click()
    page.get_by_role("dialog").get_by_role("button", name="Fork", exact=True).click()
    page.wait_for_url("**/twin/**")
    expect(page.locator("#twin-right")).to_be_visible()
    assert not violations(page)


def test_axe_finds_nothing_in_the_lab_on_a_telephone(coloured: BrowserContext) -> None:
    page = coloured.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/")
    page.get_by_role("button", name="Open the lab").click()
    LabPage(page).ready()
    page.locator('[data-transport="pause"]').click()
    for pane in ["Events", "Console", "Stage"]:
        page.get_by_role("button", name=pane, exact=True).click()
        assert not violations(page), pane
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"


def test_tab_reaches_everything_and_focus_is_seen(lab: LabPage) -> None:
    page = lab.page
    lab.produce(1)
    lab.create_consumer("app-1", "orders", group_id="readers", protocol="consumer")
    lab.create_producer("payer", "acks=all", transactional_id="pay-1")
    expect(lab.show("Groups").locator(".a-state.now")).to_have_text("Stable")
    expect(lab.show("Transactions").locator(".a-state.now")).to_have_text("Empty")
    page.locator('[data-transport="pause"]').click()
    expect(page.locator('[data-transport="play"]')).to_be_visible()
    for view in VIEWS:
        lab.show(view)
        page.wait_for_function(SETTLED, polling=300)  # the ledger and the bytes are fetched, the text view draws once a second
        wanted = page.evaluate(WALK)
        page.evaluate("document.activeElement.blur()")
        reached: set[str] = set()
        for _ in range(len(wanted) + 12):
            page.keyboard.press("Tab")
            focus = page.evaluate(FOCUS)
            if focus["body"]:
                continue
            assert focus["ring"], f"{view}: focus is not seen on {wanted[int(focus['stop'])] if focus['stop'] else '?'}"
            reached.add(focus["stop"])
        missed = [html for index, html in enumerate(wanted) if str(index) not in reached]
        assert not missed, f"{view}: never reached by Tab: {missed}"


def test_a_broker_is_killed_and_started_by_keyboard(lab: LabPage) -> None:
    page = lab.page
    page.locator('#view-cluster [data-object="broker-3"]').focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Kill", exact=True)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(lab.machine("broker-3")).to_contain_text("down")
    expect(page.locator('#view-cluster [data-object="broker-3"]')).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(page.locator('#view-cluster [data-object="broker-3"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Start", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(lab.machine("broker-3")).not_to_contain_text("down")


def test_a_member_is_killed_by_keyboard_in_the_view_of_groups(lab: LabPage) -> None:
    page = lab.page
    lab.create_consumer("app-1", "orders", group_id="readers", protocol="consumer")
    member = lab.show("Groups").get_by_role("button", name="app-1")
    expect(page.locator("#view-groups .own")).to_have_count(3)
    member.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menu")).to_be_visible()
    kill = page.get_by_role("menuitem", name="Kill", exact=True)
    for _ in range(12):
        if kill.evaluate("item => item === document.activeElement"):
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#view-groups .own.gone")).to_have_count(3)
    expect(member).to_be_focused()


def test_arrow_keys_change_the_view(lab: LabPage) -> None:
    page = lab.page
    page.get_by_role("tab", name="Cluster").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Log")).to_be_focused()
    expect(page.locator("#view-log")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="Text")).to_have_attribute("aria-selected", "true")


def test_a_screen_reader_hears_what_happened(lab: LabPage) -> None:
    lab.do("broker-1", "Kill")
    expect(lab.page.locator("#live")).to_contain_text("Broker 1 was killed")
    words = lab.page.locator("#view-text").get_by_role("row").filter(has_text="broker 1").first
    expect(words).to_contain_text("down")
