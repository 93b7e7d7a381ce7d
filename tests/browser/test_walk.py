"""What a newcomer meets on the way: a prediction's answer, a solution in words, forms that fit the cluster, twins at one moment."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.lab import LabPage


def started(page: Page, slug: str) -> None:
    page.goto(f"/lessons/{slug}/")
    page.get_by_role("button", name="Start the lesson").click()
    LabPage(page).ready()


def test_a_prediction_answers_with_what_was_measured_and_how_sure_one_was(page: Page) -> None:
    started(page, "broker-down")
    asked = page.locator("#predict-how-long")
    asked.get_by_label("Less than half a second").check()
    asked.get_by_role("slider", name="How sure?").fill("100")
    expect(asked.locator("output")).to_have_text("certain")
    asked.get_by_role("button", name="Commit to it").click()
    expect(asked.locator(".verdict")).to_have_text("Not this time. You were certain.")
    expect(asked.locator(".found")).to_contain_text("ms from “node killed” to “leader changed”")
    happened = asked.locator(".evidence li")
    expect(happened.first).to_be_hidden()
    asked.get_by_text("How it came about").click()
    expect(happened.filter(has_text="Broker 1 was killed.")).to_be_visible()
    expect(happened.filter(has_text="Broker 2 now leads orders-0")).to_be_visible()


def test_a_solution_says_what_it_does_before_it_is_done(page: Page) -> None:
    started(page, "topics-partitions-offsets")
    step = page.locator("#step-1")
    step.get_by_role("button", name="Show the solution").click()
    expect(step.locator(".told li").first).to_have_text("Create topic payments with 3 partitions, replication factor 3")
    expect(step.locator('[data-goal="payments-exists"]')).to_have_attribute("data-state", "open")
    step.get_by_role("button", name="Do it for me").click()
    expect(step.locator('[data-goal="payments-exists"]')).to_have_attribute("data-state", "met")


def test_a_new_consumer_reads_the_topic_that_is_there_and_a_new_topic_has_a_name_of_its_own(lab: LabPage) -> None:
    page, dialog = lab.page, lab.page.get_by_role("dialog")
    page.get_by_role("button", name="+ Topic").click()
    expect(dialog.get_by_label("Name")).to_have_value("payments")
    dialog.get_by_role("button", name="Create").click()
    expect(lab.replica("payments-0", "broker-1")).to_be_visible()
    page.get_by_role("button", name="+ Consumer").click()
    dialog.get_by_role("button", name="Create").click()
    expect(page.locator('#view-cluster [data-object="app-1"]')).to_contain_text("orders-0 @0")
    page.get_by_role("button", name="+ Consumer").click()
    expect(dialog.get_by_label("Name")).to_have_value("app-2")


def test_twins_are_compared_at_the_same_moment_though_time_ran_on_behind_the_form(lab: LabPage) -> None:
    lab.produce(3)
    lab.page.get_by_role("button", name="Fork here").click()
    dialog, clock = lab.page.get_by_role("dialog"), lab.page.locator("output.clock")
    before = clock.inner_text()
    expect(clock).not_to_have_text(before)
    dialog.get_by_role("button", name="Fork").click()
    lab.page.wait_for_url("**/twin/**")
    clocks = lab.page.locator(".twin-clock b")
    expect(clocks).to_have_count(2)
    left, right = clocks.all_inner_texts()
    assert left == right


def test_the_legend_folds_up_at_escape_and_at_a_click_elsewhere(lab: LabPage) -> None:
    legend, summary = lab.page.locator(".legend ul"), lab.page.get_by_text("Legend", exact=True)
    summary.click()
    expect(legend).to_be_visible()
    lab.page.keyboard.press("Escape")
    expect(legend).to_be_hidden()
    summary.click()
    expect(legend).to_be_visible()
    lab.page.locator("#console-title").click()
    expect(legend).to_be_hidden()
