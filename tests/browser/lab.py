"""What a visitor does on the page of a lab, in a visitor's words."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

WATCH = """
name => {
  const machine = () => document.querySelector(`article[data-anchor="${name}"]`);
  window.clickedAt = 0;
  window.downAt = 0;
  document.querySelector("#object-menu").addEventListener("click", () => { window.clickedAt = performance.now(); }, true);
  new MutationObserver(() => {
    if (window.clickedAt && !window.downAt && machine().classList.contains("is-down")) window.downAt = performance.now();
  }).observe(document.querySelector("#view-cluster"), { subtree: true, attributes: true, childList: true });
}
"""


class LabPage:
    """One browser tab on a lab."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def ready(self) -> LabPage:
        expect(self.page.locator("#connection")).to_have_attribute("data-state", "live")
        expect(self.page.locator(".machine")).to_have_count(3)
        return self

    def menu(self, name: str) -> Locator:
        """Opens the menu of a machine or a client on the stage."""
        self.page.locator(f'#view-cluster [data-object="{name}"]').click()
        return self.page.get_by_role("menu")

    def do(self, name: str, action: str) -> None:
        self.menu(name).get_by_role("menuitem", name=action, exact=True).click()

    def produce(self, count: int, **fields: str) -> None:
        self.page.get_by_role("button", name="Produce…").first.click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("How many").fill(str(count))
        self._fill(dialog, fields)
        dialog.get_by_role("button", name="Send").click()
        expect(dialog).to_be_hidden()

    def create_producer(self, name: str, configs: str, **fields: str) -> None:
        self.page.get_by_role("button", name="+ Producer", exact=True).click()
        self._create(name=name, configs=configs, **fields)

    def create_consumer(self, name: str, topics: str, **fields: str) -> None:
        """``fields`` by their names, such as ``group_id`` and ``protocol``."""
        self.page.get_by_role("button", name="+ Consumer", exact=True).click()
        self._create(name=name, topics=topics, **fields)

    def create_share_consumer(self, name: str, topics: str, **fields: str) -> None:
        """``fields`` by their names, such as ``group_id``, ``mode`` and ``fail_on``."""
        self.page.get_by_role("button", name="+ Share consumer", exact=True).click()
        self._create(name=name, topics=topics, **fields)

    def _fill(self, dialog: Locator, fields: dict[str, str]) -> None:
        for name, value in fields.items():
            control = dialog.locator(f'[name="{name}"]')
            if control.evaluate("control => control.tagName") == "SELECT":
                control.select_option(value)
            else:
                control.fill(value)

    def _create(self, **fields: str) -> None:
        dialog = self.page.get_by_role("dialog")
        self._fill(dialog, fields)
        dialog.get_by_role("button", name="Create").click()
        expect(dialog).to_be_hidden()

    def run_line(self, line: str, shows: str = "") -> None:
        """A line in the console, and what it prints."""
        field = self.page.get_by_label("Command line")
        field.fill(line)
        field.press("Enter")
        expect(self.page.locator("#console-output")).to_contain_text(shows)

    def speed(self, label: str) -> None:
        speed = self.page.get_by_role("radio", name=label, exact=True)
        speed.click()
        expect(speed).to_be_checked()

    def pause_when(self, words: str) -> None:
        self.page.get_by_role("button", name="Pause when…").click()
        self.page.locator("[data-when]").select_option(label=words)
        self.page.get_by_role("button", name="Add", exact=True).click()
        expect(self.page.locator("[data-breakpoints] li")).to_have_count(1)
        self.page.keyboard.press("Escape")

    def cut_off_from_other_brokers(self, name: str) -> None:
        network = self.show("Network")
        spoken = name.replace("-", " ")
        for other in ["broker 1", "broker 2", "broker 3"]:
            if other != spoken:
                network.get_by_role("button", name=f"{spoken} to {other}: as new").click()
                self.page.get_by_role("menuitem", name="Cut both ways").click()
                expect(network.get_by_role("button", name=f"{spoken} to {other}: cut")).to_be_visible()
        self.show("Cluster")

    def heal_the_network(self) -> None:
        self.show("Network").get_by_role("button", name="Heal everything").click()
        self.show("Cluster")

    def forget_breakpoints(self) -> None:
        self.page.get_by_role("button", name="Pause when…").click()
        self.page.get_by_role("button", name="Remove").click()
        expect(self.page.locator("[data-breakpoints] li")).to_have_count(0)
        self.page.keyboard.press("Escape")

    def show(self, view: str) -> Locator:
        self.page.get_by_role("tab", name=view).click()
        return self.page.locator(f"#view-{view.lower()}")

    def leader_of(self, partition: str) -> str:
        """The machine that wears the crown of a partition, such as "broker-1"."""
        row = self.page.locator(f'#view-cluster .replica.leads[data-concerns~="{partition}"]')
        expect(row).to_have_count(1)
        return "broker-" + str(row.get_attribute("data-object")).rpartition("@")[2]

    def replica(self, partition: str, machine: str) -> Locator:
        return self.page.locator(f'#view-cluster [data-object="{partition}@{machine.removeprefix("broker-")}"]')

    def machine(self, name: str) -> Locator:
        return self.page.locator(f'article[data-anchor="{name}"]')

    def events(self, kind: str) -> Locator:
        return self.page.locator(f'#feed [data-kind="{kind}"]')

    def at_ms(self, row: Locator) -> int:
        """When an event in the feed happened."""
        minutes, seconds = row.locator("time").inner_text().split(":")
        return round((int(minutes) * 60 + float(seconds)) * 1000)

    def kill(self, name: str) -> float:
        """Kills a machine; the milliseconds from the click until the stage showed it down."""
        self.page.evaluate(WATCH, name)
        self.do(name, "Kill")
        expect(self.machine(name)).to_contain_text("down")
        took: float = self.page.evaluate("window.downAt - window.clickedAt")
        return took

    def rewind_until(self, what: Locator, presses: int = 60) -> None:
        """Goes back event by event with the arrow key on the timeline until ``what`` is on the stage."""
        scrubber = self.page.get_by_role("slider", name="Moment in history")
        for _ in range(presses):
            if what.count():
                return
            before = scrubber.input_value()
            scrubber.press("ArrowLeft")
            expect(scrubber).not_to_have_value(before)
        expect(what).to_have_count(1)
