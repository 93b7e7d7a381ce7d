"""The stage's other views, the console, sharing, the theme, and what a learner typed, which never becomes markup."""

import re

from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.lab import LabPage


def test_the_console_prints_what_the_tool_prints(lab: LabPage) -> None:
    line = lab.page.get_by_label("Command line")
    line.fill("kafka-topics.sh --bootstrap-server localhost:9092 --describe --topic orders")
    line.press("Enter")
    expect(lab.page.locator("#console-output")).to_contain_text("PartitionCount")
    line.press("ArrowUp")
    expect(line).to_have_value(re.compile("--describe"))


def test_the_microscope_shows_the_bytes_of_a_record(lab: LabPage) -> None:
    lab.produce(1, value="plainly", partition="0")
    expect(lab.page.locator('#view-cluster [data-object="producer"]')).to_contain_text("1 acked")
    view = lab.show("Bytes")
    expect(view.get_by_role("button", name="baseOffset")).to_be_visible()
    expect(view.locator(".records")).to_contain_text("plainly")
    view.get_by_role("button", name="magic").focus()
    expect(view.locator(".byte.on")).to_have_text("02")


def test_the_ledger_tells_each_records_fate_and_why(lab: LabPage) -> None:
    lab.produce(4)
    view = lab.show("Ledger")
    expect(view.locator(".totals .fate-acknowledged b")).to_have_text("4")
    view.get_by_role("button", name=re.compile("^Why is record")).first.click()
    expect(lab.page.locator("#why .root")).to_contain_text("produce 4 records")


def test_a_cut_link_stays_drawn_until_it_is_healed(lab: LabPage) -> None:
    view = lab.show("Network")
    view.get_by_role("button", name="broker 1 to broker 2: as new").click()
    lab.page.get_by_role("menuitem", name="Cut both ways").click()
    expect(view.get_by_role("button", name="broker 1 to broker 2: cut")).to_be_visible()
    lab.show("Cluster")
    expect(lab.page.locator(".link-worn.cut")).not_to_have_count(0)
    lab.show("Network").get_by_role("button", name="Heal everything").click()
    expect(view.get_by_role("button", name="broker 1 to broker 2: as new")).to_be_visible()


def test_messages_fly_in_slow_time_and_not_with_reduced_motion(lab: LabPage) -> None:
    lab.speed("0.01×")
    lab.produce(1)
    expect(lab.page.locator(".flight")).not_to_have_count(0)
    lab.page.emulate_media(reduced_motion="reduce")
    expect(lab.page.locator(".flight")).to_have_count(0)
    lab.produce(1)
    lab.page.wait_for_timeout(800)
    expect(lab.page.locator(".flight")).to_have_count(0)


def test_time_stops_at_what_was_waited_for(lab: LabPage) -> None:
    lab.pause_when("a leader appends records")
    lab.produce(1)
    expect(lab.page.locator(".notice")).to_contain_text("Paused")
    expect(lab.page.locator('[data-transport="play"]')).to_be_visible()
    lab.forget_breakpoints()
    lab.page.locator('[data-transport="play"]').click()
    expect(lab.page.locator('#view-cluster [data-object="producer"]')).to_contain_text("1 acked")


def test_a_refused_command_says_so_beside_its_form(lab: LabPage) -> None:
    lab.page.get_by_role("button", name="+ Topic").click()
    dialog = lab.page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("no spaces allowed")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_contain_text("topic")
    expect(dialog.get_by_label("Name")).to_be_focused()


def test_a_line_that_is_no_setting_is_not_passed_over(lab: LabPage) -> None:
    dialog = lab.page.get_by_role("dialog")
    lab.page.get_by_role("button", name="+ Producer", exact=True).click()
    dialog.get_by_label("Settings").fill("acks=all\nlinger.ms 5")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_have_text("“linger.ms 5” is not name=value.")
    expect(dialog.get_by_label("Settings")).to_be_focused()


def test_what_the_cluster_refuses_is_told_though_its_form_is_closed(lab: LabPage) -> None:
    dialog = lab.page.get_by_role("dialog")
    lab.page.get_by_role("button", name="+ Topic").click()
    dialog.get_by_label("Replication factor").fill("5")
    dialog.get_by_role("button", name="Create").click()
    expect(lab.page.locator("#toast")).to_contain_text("INVALID_REPLICATION_FACTOR")


def test_what_a_learner_types_is_text_everywhere(lab: LabPage) -> None:
    nasty = "<img src=x onerror=document.title='pwned'>"
    lab.produce(1, value=nasty, key=nasty)
    lab.show("Ledger")
    expect(lab.page.locator("#view-ledger")).to_contain_text("<img src=x")
    line = lab.page.get_by_label("Command line")
    line.fill(nasty)
    line.press("Enter")
    expect(lab.page.locator("#console-output")).to_contain_text("<img src=x")
    assert lab.page.locator("img").count() == 0
    assert "pwned" not in lab.page.title()


def test_a_share_link_opens_a_copy_for_another_visitor(lab: LabPage, browser: Browser, site: str) -> None:
    lab.produce(3)
    expect(lab.page.locator('#view-cluster [data-object="producer"]')).to_contain_text("3 acked")
    lab.page.get_by_role("button", name="Share…").click()
    link = lab.page.get_by_label("Link")
    expect(link).to_have_value(re.compile("/s/"))
    stranger = browser.new_context(base_url=site)
    other = stranger.new_page()
    other.goto(link.input_value())
    copy = LabPage(other).ready()
    expect(copy.page.locator('#view-cluster [data-object="producer"]')).to_contain_text("3 acked")
    stranger.close()


def test_the_page_finds_its_way_back_after_a_lost_connection(page: Page) -> None:
    sockets: list[WebSocketRoute] = []

    def through(route: WebSocketRoute) -> None:
        route.connect_to_server()
        sockets.append(route)

    page.route_web_socket(re.compile("/ws/"), through)
    page.goto("/")
    page.get_by_role("button", name="Open the lab").click()
    lab = LabPage(page).ready()
    sockets[0].close(code=1012)
    expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
    lab.ready()
    assert len(sockets) == 2
    lab.produce(2)
    expect(page.locator('#view-cluster [data-object="producer"]')).to_contain_text("2 acked")


def test_the_chosen_theme_is_there_before_the_first_paint(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Switch between light and dark").click()
    chosen = page.locator("html").get_attribute("data-theme")
    assert chosen == "dark"
    page.goto("/curriculum/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    first = page.locator("head script").first.get_attribute("src") or ""
    assert "theme" in first
    assert page.evaluate(
        "document.querySelector('head script').compareDocumentPosition(document.querySelector('link[rel=stylesheet]')) & 4"
    )


def test_no_page_is_wider_than_its_screen(page: Page) -> None:
    for width in [390, 768, 1024, 1440, 1920]:
        page.set_viewport_size({"width": width, "height": 900})
        for path in ["/", "/curriculum/"]:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} at {width} px"
