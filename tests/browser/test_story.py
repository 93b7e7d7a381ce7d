"""The story that the lab is made for: an acknowledged record is lost, the page says why, and with acks=all it is not."""

import re

from playwright.sync_api import Page, expect

from tests.browser.lab import LabPage

STAGE_SHOWS_WITHIN_MS = 300


def lose_a_record_and_compare(lab: LabPage) -> None:
    page = lab.page
    lab.create_producer("pay", "acks=1")
    lab.produce(3, producer="pay", partition="0")
    expect(page.locator('#view-cluster [data-object="pay"]')).to_contain_text("3 acked")

    # Nobody can copy from the leader any more, and with acks=1 it acknowledges all the same.
    old_leader = lab.leader_of("orders-0")
    lab.cut_off_from_other_brokers(old_leader)
    lab.produce(2, producer="pay", partition="0")
    expect(page.locator('#view-cluster [data-object="pay"]')).to_contain_text("5 acked")
    epoch = int(re.search(r"epoch (\d+)", lab.replica("orders-0", old_leader).inner_text())[1])  # type: ignore[index]

    assert lab.kill(old_leader) < STAGE_SHOWS_WITHIN_MS

    # The controller waits out broker.session.timeout.ms (9 s since the last heartbeat, which comes every 2 s), then elects.
    lab.heal_the_network()
    lab.speed("10×")
    changed = lab.events("LeaderChanged").filter(has_text="orders-0")
    expect(changed).to_have_count(1)
    lab.page.locator('[data-transport="pause"]').click()
    killed_ms = lab.at_ms(lab.events("NodeKilled"))
    assert 6_900 <= lab.at_ms(changed) - killed_ms <= 9_600
    new_leader = lab.leader_of("orders-0")
    assert new_leader != old_leader
    expect(lab.replica("orders-0", new_leader)).to_contain_text(f"epoch {epoch + 1}")
    expect(lab.replica("orders-0", new_leader)).to_contain_text("ISR")
    expect(lab.replica("orders-0", old_leader)).not_to_contain_text("ISR")
    expect(lab.events("IsrChanged").filter(has_text="orders-0")).not_to_have_count(0)

    # Why does it lead? Because of the click.
    changed.get_by_role("button").click()
    chain = page.locator("#why .chain li")
    expect(page.locator("#why .root").filter(has_text="kill")).to_have_count(1)
    expect(chain.last).to_contain_text("leads orders-0")
    expect(chain.filter(has_text="session")).not_to_have_count(0)
    page.get_by_role("button", name="Close the chain of causes").click()

    # Back to before the kill; the other future, side by side.
    up = page.locator(f'article.is-up[data-anchor="{old_leader}"]')
    lab.rewind_until(up)
    expect(page.locator(".notice")).to_contain_text("In the past")
    page.get_by_role("button", name="Fork here").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("What differs").select_option("producer pay")
    dialog.get_by_label("Its setting").fill("acks=all")
    dialog.get_by_role("button", name="Fork", exact=True).click()
    page.wait_for_url("**/twin/**")
    left, right = page.locator("#twin-left"), page.locator("#twin-right")
    expect(left.locator('[data-fate="lost"] .num')).to_have_text("2")
    expect(right.locator('[data-fate="lost"] .num')).to_have_text("0")
    expect(left.locator('[data-fate="lost"]')).to_have_class(re.compile("differs"))


def test_an_acknowledged_record_is_lost_and_acks_all_keeps_it(lab: LabPage) -> None:
    lose_a_record_and_compare(lab)


def test_the_lesson_on_acks_from_the_front_page_to_both_ledgers(page: Page) -> None:
    page.goto("/")
    page.locator('a[href*="acks"]').first.click()
    page.get_by_role("button", name=re.compile("^Start")).click()
    lab = LabPage(page).ready()
    expect(page.locator("#lesson")).to_be_visible()
    lose_a_record_and_compare(lab)
