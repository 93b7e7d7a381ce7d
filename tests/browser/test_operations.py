"""What an operator does on the stage: compaction, deleted records, an authorizer with its users and ACLs."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.lab import LabPage

PATIENCE_MS = 40_000
COMPACTED = """\
cleanup.policy=compact
segment.ms=10000
min.cleanable.dirty.ratio=0.01
"""


def test_a_compacted_topic_keeps_the_newest_value_of_each_key_and_the_log_shows_it(lab: LabPage) -> None:
    page, dialog = lab.page, lab.page.get_by_role("dialog")
    page.get_by_role("button", name="+ Topic").click()
    dialog.get_by_label("Name").fill("prices")
    dialog.get_by_label("Settings").fill(COMPACTED)
    dialog.get_by_role("button", name="Create").click()
    expect(lab.replica("prices-0", "broker-1")).to_be_visible()
    lab.produce(40, topic="prices", key="bread", value="{n}")
    expect(lab.replica("prices-0", "broker-1")).to_contain_text("LEO 40")
    lab.speed("10×")
    expect(page.locator("output.clock")).to_have_text(re.compile(r"0:[2-9]|[1-9]:"), timeout=PATIENCE_MS)
    lab.produce(1, topic="prices", key="milk", value="{n}")
    cleaned = lab.events("LogCleaned").filter(has_text="prices-0")
    expect(cleaned.first).to_contain_text("of 40 records 1 stay", timeout=PATIENCE_MS)
    lab.speed("1×")
    log = lab.show("Log")
    log.get_by_label("Partition").select_option("prices-0")
    expect(log.locator(".segments .clean")).to_have_count(3)
    expect(log.locator(".batch").filter(has_text="0–39: 1 left")).to_have_count(3)


def test_records_are_deleted_up_to_an_offset(lab: LabPage) -> None:
    page = lab.page
    lab.produce(8, partition="0")
    expect(page.locator('#view-cluster [data-object="producer"]')).to_contain_text("8 acked")
    lab.do("orders-0@1", "Delete records…")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("All before offset")).to_have_value("8")
    dialog.get_by_label("All before offset").fill("3")
    dialog.get_by_role("button", name="Delete").click()
    log = lab.show("Log")
    expect(log.locator(".at-start").filter(has_text="log start 3")).to_have_count(3)
    lab.run_line("kafka-get-offsets.sh --topic orders --time earliest", "orders:0:3")


def test_a_fork_with_an_authorizer_denies_what_no_acl_allows(lab: LabPage) -> None:
    page, dialog = lab.page, lab.page.get_by_role("dialog")
    view = lab.show("Metrics")
    view.get_by_role("button", name="User…").click()
    dialog.get_by_role("button", name="Create").click()
    expect(view.locator(".fact").filter(has_text="users: alice")).to_be_visible()
    view.get_by_role("button", name="Fork with an authorizer…").click()
    dialog.get_by_role("button", name="Fork", exact=True).click()
    page.wait_for_url("**/twin/**")
    page.locator("#right-title a").click()
    lab.ready()
    page.get_by_role("button", name="Play (space)").click()
    lab.show("Metrics")
    expect(view.locator(".fact").filter(has_text="StandardAuthorizer")).to_be_visible()
    view.get_by_role("button", name="ACL…").click()
    dialog.get_by_label("Operation").select_option("write")
    dialog.get_by_role("button", name="Add").click()
    expect(view.get_by_role("row").filter(has_text="User:alice")).to_contain_text("topic orders")
    lab.show("Cluster")
    lab.create_producer("stranger", "acks=all")
    lab.produce(1, producer="stranger")
    expect(lab.events("AuthorizationDenied").first).to_contain_text("denied stranger (User:ANONYMOUS)")
    lab.create_producer("friend", "sasl.username=alice\nsasl.password=alice-secret")
    lab.produce(2, producer="friend")
    expect(page.locator('#view-cluster [data-object="friend"]')).to_contain_text("2 acked")
