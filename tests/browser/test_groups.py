"""Groups and transactions on the stage: a member dies and the group rebalances; a transaction holds a read_committed consumer back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import LabPage

PATIENCE_MS = 40_000
PROTOCOLS = {
    "eager": {"assignor": "range"},
    "cooperative": {"assignor": "cooperative-sticky"},
    "KIP-848": {"protocol": "consumer"},
}


def group_of_three(lab: LabPage, **fields: str) -> Locator:
    """Three members share six partitions; returns the view of groups."""
    lab.run_line("kafka-topics.sh --create --topic trips --partitions 6 --replication-factor 3", "Created topic trips")
    for number in (1, 2, 3):
        lab.create_consumer(f"app-{number}", "trips", group_id="riders", **fields)
    lab.speed("10×")
    view = lab.show("Groups")
    for number in (1, 2, 3):
        expect(owned(view, f"app-{number}")).to_have_count(2, timeout=PATIENCE_MS)
    expect(view.locator(".a-state.now")).to_have_text("Stable")
    return view


def owned(view: Locator, member: str) -> Locator:
    """The partitions that the matrix gives to a member."""
    return view.locator(".members tbody tr").filter(has_text=member).locator(".own:not(.due):not(.gone)")


def seconds(text: str) -> float:
    """ "44.2 s" or "3.6 ms"."""
    number, unit = text.split()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60}[unit]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_member_is_killed_and_its_partitions_stand_still_until_its_session_is_over(lab: LabPage, protocol: str) -> None:
    view = group_of_three(lab, **PROTOCOLS[protocol])
    view.get_by_role("button", name="app-2").click()
    lab.page.get_by_role("menuitem", name="Kill", exact=True).click()
    expect(view.locator(".own.gone")).to_have_count(2)
    expect(view.locator('[data-stopped="now"]')).to_contain_text("nobody reads")
    expect(owned(view, "app-1")).to_have_count(3, timeout=PATIENCE_MS)
    expect(owned(view, "app-3")).to_have_count(3, timeout=PATIENCE_MS)
    last = view.locator('[data-stopped="last"]')
    expect(last).to_contain_text("6 partitions" if protocol == "eager" else "2 partitions", timeout=PATIENCE_MS)
    assert 40 < seconds(last.locator("b").inner_text()) < 60
    expect(view.locator(".gap")).not_to_have_count(0)
    expect(view.locator(".meaning")).to_contain_text("Stable: every member")
    expect(view.get_by_role("region", name="Rebalances").get_by_role("row").nth(1)).to_contain_text("app-2")
    lab.show("Cluster")
    lab.events("MemberLeft").first.locator(".why").click()
    expect(lab.page.locator("#why .root").filter(has_text="kill app-2")).to_be_visible()


def test_a_member_that_leaves_politely_stops_all_under_the_eager_protocol(lab: LabPage) -> None:
    view = group_of_three(lab, assignor="range")
    view.get_by_role("button", name="app-2").click()
    lab.page.get_by_role("menuitem", name="Close").click()
    last = view.locator('[data-stopped="last"]')
    expect(last).to_contain_text("6 partitions", timeout=PATIENCE_MS)
    assert seconds(last.locator("b").inner_text()) < 10


def test_a_group_stays_on_the_stage_while_nobody_coordinates_it(lab: LabPage) -> None:
    lab.create_consumer("app-1", "orders", group_id="readers", protocol="consumer")
    view = lab.show("Groups")
    expect(owned(view, "app-1")).to_have_count(3, timeout=PATIENCE_MS)
    coordinator = re.search(r"coordinator: broker (\d)", view.inner_text())
    assert coordinator
    lab.show("Cluster")
    lab.do(f"broker-{coordinator[1]}", "Kill")
    lab.show("Groups")
    absent = view.locator('[data-absent="readers"]')
    expect(absent).to_contain_text(f"The coordinator, broker {coordinator[1]}, is down")
    expect(absent.get_by_role("row").filter(has_text="app-1")).to_contain_text("orders-0 at 0")
    lab.speed("10×")
    expect(view.locator(".fact").filter(has_text="coordinator: broker")).not_to_have_text(
        f"coordinator: broker {coordinator[1]}", timeout=PATIENCE_MS
    )
    expect(owned(view, "app-1")).to_have_count(3, timeout=PATIENCE_MS)


def test_an_open_transaction_holds_a_read_committed_consumer_until_it_is_aborted(lab: LabPage) -> None:
    page = lab.page
    lab.create_producer("payer", "acks=all", transactional_id="pay-1")
    lab.create_consumer("careful", "orders", isolation="read_committed")
    lab.create_consumer("hasty", "orders")
    view = lab.show("Transactions")
    expect(view.locator(".a-state.now")).to_have_text("Empty", timeout=PATIENCE_MS)
    lab.show("Cluster")
    lab.do("payer", "Begin a transaction")
    lab.produce(7, producer="payer", partition="0")
    lab.show("Transactions")
    expect(view.locator(".a-state.now")).to_have_text("Ongoing")
    held = view.locator(".stable tr.held")
    expect(held).to_contain_text("orders-0")
    expect(held.locator(".lso")).to_have_text("0")
    expect(held.locator(".hw")).to_have_text("7")
    expect(held).to_contain_text("pay-1 since offset 0")
    careful = view.get_by_role("row").filter(has_text="careful")
    expect(careful).to_contain_text("orders-0 at 0 (waits at the LSO)")
    expect(view.get_by_role("row").filter(has_text="hasty")).to_contain_text("orders-0 at 7")
    view.get_by_role("button", name="payer").click()
    page.get_by_role("menuitem", name="Abort it").click()
    expect(view.locator(".a-state.now")).to_have_text("CompleteAbort")
    expect(held).to_have_count(0)
    expect(careful).to_contain_text("orders-0 at 8")
    expect(careful.locator("td.num")).to_have_text("0")
    lab.show("Log")
    expect(page.locator("#view-log .batch.control").first).to_contain_text("abort")


def test_what_was_held_back_is_read_once_it_is_committed(lab: LabPage) -> None:
    lab.create_producer("payer", "acks=all", transactional_id="pay-1")
    lab.create_consumer("careful", "orders", isolation="read_committed")
    view = lab.show("Transactions")
    expect(view.locator(".a-state.now")).to_have_text("Empty", timeout=PATIENCE_MS)
    payer = view.get_by_role("button", name="payer")
    payer.click()
    lab.page.get_by_role("menuitem", name="Begin a transaction").click()
    lab.show("Cluster")
    lab.produce(7, producer="payer", partition="0")
    lab.show("Transactions")
    expect(view.locator(".stable tr.held .lso")).to_have_text("0")
    payer.click()
    lab.page.get_by_role("menuitem", name="Commit it").click()
    expect(view.locator(".a-state.now")).to_have_text("CompleteCommit")
    expect(view.locator(".meaning")).to_contain_text("read_committed consumers read what was sent")
    careful = view.get_by_role("row").filter(has_text="careful")
    expect(careful.locator("td.num")).to_have_text("7")
    payer.click()
    lab.page.get_by_role("menuitem", name="Commit it").click()
    expect(lab.page.locator("#toast")).to_contain_text("Invalid transition attempted from state READY to state COMMITTING")


def test_a_groups_offsets_are_set_from_its_menu_and_in_the_console(lab: LabPage) -> None:
    lab.produce(5, partition="0")
    lab.run_line("kafka-consumer-groups.sh --reset-offsets --group idle --topic orders:0 --to-latest --execute", "NEW-OFFSET")
    view = lab.show("Groups")
    view.get_by_role("button", name="Actions…").click()
    lab.page.get_by_role("menuitem", name="Set an offset…").click()
    dialog = lab.page.get_by_role("dialog")
    dialog.get_by_label("Offset").fill("2")
    dialog.get_by_role("button", name="Set").click()
    expect(view.locator(".members tfoot tr").filter(has_text=re.compile("^lag"))).to_contain_text("3")
    view.get_by_role("button", name="Actions…").click()
    lab.page.get_by_role("menuitem", name="Delete the group").click()
    expect(view).to_contain_text("No group yet")


def test_a_quota_throttles_and_is_removed(lab: LabPage) -> None:
    view = lab.show("Metrics")
    view.get_by_role("button", name="Quota…").click()
    dialog = lab.page.get_by_role("dialog")
    dialog.get_by_label("At most").fill("1000")
    dialog.get_by_role("button", name="Set").click()
    expect(view.get_by_role("row").filter(has_text="client producer")).to_contain_text("1000 B/s")
    lab.show("Cluster")
    lab.produce(400, value="many bytes {n} many bytes many bytes")
    lab.show("Metrics")
    expect(view.locator(".usage.tone-lagging").first).to_contain_text("throttled")
    view.get_by_role("button", name="Remove producer_byte_rate of client producer").click()
    expect(view.get_by_role("row").filter(has_text="client producer")).to_have_count(0)


def test_two_futures_of_the_free_lab_are_compared_with_ledgers_groups_and_metrics(lab: LabPage) -> None:
    page = lab.page
    lab.create_producer("steady", "acks=all")
    lab.create_consumer("app-1", "orders", group_id="readers")
    lab.produce(20, producer="steady")
    expect(page.locator('#view-cluster [data-object="steady"]')).to_contain_text("20 acked")
    page.get_by_role("button", name="Fork here").click()
    dialog = page.get_by_role("dialog")
    dialog.locator('[name="of"]').select_option("producer steady")
    dialog.locator('[name="configs"]').fill("acks=0")
    dialog.get_by_role("button", name="Fork", exact=True).click()
    page.wait_for_url("**/twin/**")
    expect(page.locator(".page-head")).to_contain_text("acks=0")
    for side in ("#twin-left", "#twin-right"):
        metrics = page.locator(side).get_by_role("table", name="Metrics: the usual, and what differs most")
        expect(metrics.get_by_role("row").filter(has_text="MessagesInPerSec")).to_have_count(1)
        expect(page.locator(side).get_by_role("table", name="Groups")).to_contain_text("readers")
        expect(page.locator(side).get_by_role("table", name="Delivery ledger")).to_be_visible()
    expect(page.locator("#twin-right td.differs").first).to_be_visible()


def share_group(lab: LabPage, **fields: str) -> Locator:
    """Three members of a share group on the one partition of ``jobs``; returns the view of groups."""
    lab.run_line("kafka-topics.sh --create --topic jobs --partitions 1 --replication-factor 3", "Created topic jobs")
    for number in (1, 2, 3):
        lab.create_share_consumer(f"worker-{number}", "jobs", group_id="pool", **fields)
    lab.speed("10×")
    view = lab.show("Groups")
    for number in (1, 2, 3):
        expect(owned(view, f"worker-{number}")).to_have_count(1, timeout=PATIENCE_MS)
    return view


def test_a_share_group_shares_the_records_of_one_partition_and_gives_a_poisonous_one_up(lab: LabPage) -> None:
    view = share_group(lab, mode="explicit", processing_ms="800", fail_on="poison")
    expect(view.locator(".fact").filter(has_text="share group")).to_have_count(1)
    lab.show("Cluster")
    lab.speed("1×")
    for value in ("one", "two", "poison", "four", "five"):
        lab.produce(1, topic="jobs", value=value)
    lab.show("Groups")
    expect(view.locator(".runs .run.acquired")).not_to_have_count(0)
    expect(view.locator(".runs .run b").first).to_have_text(re.compile("[2-5]×"), timeout=PATIENCE_MS)
    lab.speed("10×")
    expect(view.locator(".flight-table tbody tr td").first).to_have_text("5", timeout=PATIENCE_MS)
    expect(view.locator(".stopped b")).to_have_text("0")
    lab.show("Cluster")
    given_up = lab.events("ShareAcknowledged").filter(has_text="given up").first
    given_up.locator(".why").click()
    expect(lab.page.locator("#why .root").filter(has_text="poison")).to_be_visible()
