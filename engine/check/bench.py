"""What this machine gives: the figures that ``make bench`` prints. Figures only; no test asserts on time."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable
from time import perf_counter

import msgspec

from engine import commands as cm
from engine.check.bench_groups import Row, bench_join, bench_rebalance, bench_transactions
from engine.check.pool import reports
from engine.lab import Lab
from engine.log.compaction import clean
from engine.log.config import LogConfig
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import build_batch
from engine.sim.checkpoint import copy_tree
from engine.sim.disk import Disk
from engine.spec import ClusterSpec, TopicSpec
from engine.view.diff import diff

DAY_S = 86_400
RETENTION = ClusterSpec(
    topics=(
        TopicSpec("events", 1, 3, {"retention.ms": "3600000", "segment.ms": "600000"}),
        TopicSpec("state", 1, 3, {"cleanup.policy": "compact", "delete.retention.ms": "3600000", "segment.ms": "600000"}),
    )
)
ONE_TOPIC = ClusterSpec(topics=(TopicSpec("orders", 1, 3),))
BUSY = ClusterSpec(topics=(TopicSpec("orders", 3, 3),))
SECOND_US = 1_000_000


def run_bench() -> int:
    rows = [
        *bench_create(),
        *bench_memory(),
        *bench_busy(),
        *bench_idle(),
        *bench_records(),
        *bench_push(),
        *bench_compaction(),
        *bench_retention_day(),
        *bench_join(),
        *bench_rebalance(),
        *bench_transactions(),
        *bench_fuzz(),
    ]
    width = max(len(name) for name, _, _ in rows)
    for name, value, target in rows:
        print(f"{name:<{width}}  {value:>16}  {target}")
    return 0


def timed(work: Callable[[], object], rounds: int) -> float:
    """The best of ``rounds``, in seconds: what the machine can do when it is let."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return best


def first_record_readable() -> Lab:
    """A sandbox from nothing to its first record read by a consumer."""
    lab = Lab(ONE_TOPIC, 1)
    lab.submit(cm.Produce("orders", "hello"))
    lab.submit(cm.CreateConsumer("reader", ["orders"], {"auto.offset.reset": "earliest"}))
    while not lab.view().consumers["reader"].consumed:
        lab.advance(lab.now_us + 2_000)
    return lab


def bench_create() -> list[Row]:
    return [
        ("create a 3-broker sandbox with one topic", f"{timed(lambda: Lab(ONE_TOPIC, 1), 7) * 1e3:.1f} ms", ""),
        (
            "… until its first record is readable",
            f"{timed(first_record_readable, 7) * 1e3:.1f} ms",
            "to reach: < 50 ms",
        ),
    ]


def bench_memory() -> list[Row]:
    Lab(ONE_TOPIC, 0)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    labs = [Lab(ONE_TOPIC, seed) for seed in range(5)]
    for lab in labs:
        lab.advance(lab.now_us + 60 * SECOND_US)
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / len(labs)
    tracemalloc.stop()
    return [("memory of an idle sandbox after a virtual minute", f"{each / 2**20:.2f} MiB", "to reach: < 4 MiB")]


def busy_lab() -> Lab:
    lab = Lab(BUSY, 1)
    lab.submit(cm.CreateConsumer("reader", ["orders"], {"auto.offset.reset": "earliest"}))
    lab.submit(cm.CreateProducer("writer", {"linger.ms": "0"}))
    lab.submit(cm.StartWorkload("load", "orders", "writer", records_per_second=400, keys=50, value_bytes=100))
    return lab


def bench_busy() -> list[Row]:
    """The replication workload, with history and causes on, until 100,000 events are known."""
    lab = busy_lab()
    lab.advance(lab.now_us + 2 * SECOND_US)
    start_deliveries, start_events, start = lab.kernel.deliveries, lab.kernel.next_event_id, perf_counter()
    while lab.kernel.next_event_id < 100_000:
        lab.advance(lab.now_us + SECOND_US)
    seconds = perf_counter() - start
    deliveries = (lab.kernel.deliveries - start_deliveries) / seconds
    events = (lab.kernel.next_event_id - start_events) / seconds
    copy = timed(lambda: copy_tree(lab.world), 9)
    durable = timed(lab.checkpoint, 3)
    middle = (lab.begin_us + lab.end_us) // 2
    start = perf_counter()
    lab.seek(middle)
    seek = perf_counter() - start
    return [
        ("handled deliveries under the replication workload", f"{deliveries:,.0f}/s", "to reach: ≥ 40,000/s"),
        ("… events recorded with their causes", f"{events:,.0f}/s", ""),
        ("checkpoint after 100,000 events", f"{copy * 1e3:.2f} ms", "to reach: < 1 ms"),
        ("… in its durable form", f"{durable * 1e3:.1f} ms", ""),
        ("seek to the middle of the kept history", f"{seek * 1e3:.0f} ms", ""),
    ]


def bench_idle() -> list[Row]:
    lab = Lab(ONE_TOPIC, 1)
    lab.advance(lab.now_us + 10 * SECOND_US)
    seconds = timed(lambda: lab.advance(lab.now_us + 60 * SECOND_US), 5)
    return [("virtual seconds per second, idle cluster", f"{60 / seconds:,.0f}", "to reach: ≥ 500")]


def bench_records() -> list[Row]:
    """100-byte records through accumulator, leader and both followers, at Kafka's default batching."""
    lab = Lab(BUSY, 1)
    lab.submit(cm.CreateProducer("writer", {}))
    for number in range(4):
        lab.submit(cm.StartWorkload(f"load-{number}", "orders", "writer", records_per_second=5_000, value_bytes=100))
    lab.advance(lab.now_us + SECOND_US)
    before = lab.view().producers["writer"].acknowledged
    start = perf_counter()
    lab.advance(lab.now_us + 5 * SECOND_US)
    seconds = perf_counter() - start
    done = lab.view().producers["writer"].acknowledged - before
    return [("appended and replicated records (100 bytes)", f"{done / seconds:,.0f}/s", "")]


def dirty_log() -> tuple[PartitionLog, Disk]:
    """Some 12 MiB in batches of fifty 100-byte records over 5,000 keys."""
    disk = Disk()
    log = PartitionLog.open(disk, "state-0", LogConfig(segment_bytes=1 << 20), 0)
    for number in range(0, 100_000, 50):
        records = [(b"key-%d" % ((number + n) * 7_919 % 5_000), b"v" * 100, (), 0) for n in range(50)]
        log.append_as_leader(build_batch(records), 0, 0, disk)
    return log, disk


def bench_compaction() -> list[Row]:
    """Dirty bytes read into the offset map and copied, by the cleaner's own work."""
    best = 0.0
    for _ in range(3):
        log, disk = dirty_log()
        dirty = log.size - log.active_segment.size
        start = perf_counter()
        clean(log, 0, log.active_segment.base_offset, 0, disk)
        best = max(best, dirty / (perf_counter() - start))
    return [("compaction", f"{best / 1e6:.0f} MB/s", "")]


def bench_retention_day() -> list[Row]:
    """A virtual day on three brokers, one record every ten seconds, half of them to a topic that expires, half to one that compacts."""
    lab = Lab(RETENTION, 1)
    lab.submit(cm.CreateProducer("app", {}))
    start = perf_counter()
    for number in range(DAY_S // 10):
        topic = "state" if number % 2 else "events"
        lab.submit(cm.Produce(topic, None if number % 20 == 19 else f"value {number}", f"key {number % 7}", "app"))
        lab.advance(lab.now_us + 10 * SECOND_US)
    return [("a virtual day of retention and compaction", f"{perf_counter() - start:.0f} s", "to reach: < 60 s")]


def bench_push() -> list[Row]:
    lab = busy_lab()
    sizes: list[int] = []
    old = msgspec.to_builtins(lab.view())
    whole = len(msgspec.json.encode(old))
    start = perf_counter()
    for _ in range(100):
        lab.advance(lab.now_us + SECOND_US // 10)
        new = msgspec.to_builtins(lab.view())
        sizes.append(len(msgspec.json.encode(diff(old, new))))
        old = new
    seconds = perf_counter() - start
    return [
        ("a whole view", f"{whole:,} bytes", ""),
        ("a push under load (median of 100, ten a second)", f"{sorted(sizes)[50]:,} bytes", ""),
        ("… work per push, a tenth of a second of load included", f"{seconds * 10:.1f} ms", ""),
    ]


def bench_fuzz() -> list[Row]:
    """Simulated clusters under faults, every invariant judged after every step."""
    seeds, jobs = range(60), min(os.cpu_count() or 1, 2)
    start = perf_counter()
    for _ in reports(seeds, jobs=jobs, profile="full"):
        pass
    return [(f"fuzz --profile full, {jobs} processes", f"{len(seeds) / (perf_counter() - start):.1f} seeds/s", "to reach: ≥ 5")]
