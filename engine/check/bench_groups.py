"""What coordinators cost: a hundred members joining, the standstill of a rebalance by protocol, transactions. Rows for ``make bench``.

Wall time says what the machine does; the seconds of a rebalance are virtual, so they are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from engine import commands as cm
from engine import limits
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec
from engine.view.ownership import Span

Row = tuple[str, str, str]

SECOND_US = 1_000_000
GROUP = "workers"
MEMBERS = 100
SIX_PARTITIONS = ClusterSpec(topics=(TopicSpec("orders", 6, 3),))
A_HUNDRED_PARTITIONS = ClusterSpec(topics=(TopicSpec("orders", 50, 3), TopicSpec("payments", 50, 3)))
PROTOCOLS: tuple[tuple[str, dict[str, str]], ...] = (
    ("classic eager", {"partition.assignment.strategy": "sticky"}),
    ("cooperative", {"partition.assignment.strategy": "cooperative-sticky"}),
    ("KIP-848", {"group.protocol": "consumer"}),
)
PROCESSING_MS = 250
"""For each record: a member comes to its barrier between two polls, and whoever is eager waits for the slowest."""
RECORDS_PER_TRANSACTION = 10


# -- a group of a hundred -------------------------------------------------------------------------------------------------


@contextmanager
def room_for(clients: int) -> Iterator[None]:
    """A lab that a person plays in holds fewer clients than this bench wants to see."""
    usual, limits.MAX_CLIENTS = limits.MAX_CLIENTS, clients
    try:
        yield
    finally:
        limits.MAX_CLIENTS = usual


def bench_join() -> list[Row]:
    """All at the same moment, until each of them has its partition."""
    rows: list[Row] = []
    for name, configs in PROTOCOLS:
        lab = Lab(A_HUNDRED_PARTITIONS, 1)
        begin_us, start = lab.now_us, perf_counter()
        with room_for(MEMBERS):
            for number in range(MEMBERS):
                lab.submit(cm.CreateConsumer(f"member-{number}", ["orders", "payments"], {"group.id": GROUP, **configs}))
        for _ in range(600):
            lab.advance(lab.now_us + SECOND_US // 10)
            if len({span.consumer for span in _owned(lab)}) == MEMBERS:
                break
        seconds, virtual = perf_counter() - start, (lab.now_us - begin_us) / SECOND_US
        rows.append((f"a join of {MEMBERS} members, {name}", f"{seconds * 1e3:,.0f} ms", f"{virtual:.1f} virtual s"))
    return rows


# -- what a rebalance stops -----------------------------------------------------------------------------------------------


def bench_rebalance() -> list[Row]:
    """Three members on six partitions: one is killed, or another joins. For how many virtual seconds nobody reads a partition of those that
    stay, and a partition that passes on to another."""
    rows: list[Row] = []
    for name, configs in PROTOCOLS:
        for title, command in (
            ("a member is killed", cm.KillNode("member-1")),
            ("a member joins", _member("member-3", configs)),
        ):
            lab = _group_of_three(configs)
            begin_us, before = lab.now_us, _owners(lab)
            lab.submit(command)
            lab.advance(lab.now_us + 90 * SECOND_US)
            after = _owners(lab)
            kept = [partition for partition, owner in before.items() if after.get(partition) == owner]
            moved = [partition for partition in before if partition not in kept]
            stands, passes = standstill_us(_spans(lab), kept, begin_us), standstill_us(_spans(lab), moved, begin_us)
            note = f"virtual; {passes / SECOND_US:.2f} s where it moves"
            rows.append((f"a partition that stays stands still, {title}, {name}", f"{stands / SECOND_US:.3f} s", note))
    return rows


def _group_of_three(configs: dict[str, str]) -> Lab:
    lab = Lab(SIX_PARTITIONS, 1)
    lab.submit(cm.CreateProducer("writer", {}))
    lab.submit(cm.StartWorkload("load", "orders", "writer", records_per_second=6, keys=50))
    for number in range(3):
        lab.submit(_member(f"member-{number}", configs))
    lab.advance(lab.now_us + 30 * SECOND_US)
    return lab


def _member(name: str, configs: dict[str, str]) -> cm.CreateConsumer:
    return cm.CreateConsumer(name, ["orders"], {"group.id": GROUP, **configs}, processing_ms=PROCESSING_MS)


def standstill_us(spans: list[Span], partitions: list[str], from_us: int) -> int:
    """How long that of the partitions which fared worst had no reader since ``from_us``, all its gaps together."""
    worst = 0
    for partition in partitions:
        gap, free_us = 0, from_us
        for span in sorted((span for span in spans if span.partition == partition), key=_begin):
            if 0 <= span.until_us <= from_us:
                continue
            gap += max(span.from_us - free_us, 0)
            free_us = max(free_us, span.until_us)
        worst = max(worst, gap)
    return worst


def _begin(span: Span) -> int:
    return span.from_us


def _spans(lab: Lab) -> list[Span]:
    log = lab.world.metrics.ownership.groups.get(GROUP)
    return log.spans if log is not None else []


def _owned(lab: Lab) -> list[Span]:
    return [span for span in _spans(lab) if span.until_us < 0]


def _owners(lab: Lab) -> dict[str, str]:
    return {span.partition: span.consumer for span in _owned(lab)}


# -- transactions ---------------------------------------------------------------------------------------------------------


def bench_transactions() -> list[Row]:
    """Four producers that commit as often as they can, over three partitions: coordinator, markers and replication included."""
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", 3, 3),)), 1)
    names = [f"writer-{number}" for number in range(4)]
    for name in names:
        lab.submit(cm.CreateProducer(name, {"transactional.id": name}))
        load = cm.StartWorkload(f"load-{name}", "orders", name, 1_000, 50, transaction_records=RECORDS_PER_TRANSACTION)
        lab.submit(load)
    lab.advance(lab.now_us + 2 * SECOND_US)
    before, start = _acknowledged(lab, names), perf_counter()
    lab.advance(lab.now_us + 10 * SECOND_US)
    seconds = perf_counter() - start
    done = (_acknowledged(lab, names) - before) / RECORDS_PER_TRANSACTION
    title = f"transactions of {RECORDS_PER_TRANSACTION} records, {len(names)} producers"
    return [(title, f"{done / seconds:,.0f}/s", f"{done / 10:,.0f} per virtual s")]


def _acknowledged(lab: Lab, names: list[str]) -> int:
    producers = lab.view().producers
    return sum(producers[name].acknowledged for name in names)
