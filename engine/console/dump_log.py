"""kafka-dump-log.sh (``kafka.tools.DumpLogSegments``, Kafka 4.x): the files of a broker, batch by batch.

A file is named with its machine as ``scp`` does, ``broker-1:orders-0/00000000000000000000.log``; without one the partition's leader is
meant. A directory in front, such as ``/var/lib/kafka/data/``, may stand there or not. The bytes are those of the simulated disk, whether
its broker runs or not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from engine.console.coordinator_json import offsets_record, transaction_record
from engine.console.job import Job
from engine.console.options import Option, OptionError, Options, UsageError, check_values, parse_options, require, usage
from engine.lab import Lab
from engine.log.errors import LogError
from engine.log.index import OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES
from engine.log.record_batch import BatchHeader, Record, check_crc, decode, read_end_txn_marker, read_header
from engine.sim.disk import Disk
from engine.spec import broker_name
from engine.view.build import committed_image

NAME = "kafka-dump-log.sh"
OPTIONS = (
    Option("files", help="The comma separated list of data and index log files to be dumped: broker-1:orders-0/00000000000000000000.log"),
    Option("print-data-log", "flag", "If set, printing the messages content when dumping data logs."),
    Option("deep-iteration", "flag", "If set, uses deep instead of shallow iteration. Automatically set if print-data-log is enabled."),
    Option("skip-record-metadata", "flag", "Whether to skip printing metadata for each record."),
    Option("offsets-decoder", "flag", "If set, log data will be parsed as offset data from the __consumer_offsets topic."),
    Option("transaction-log-decoder", "flag", "If set, log data will be parsed as transaction metadata from the __transaction_state topic."),
    Option("verify-index-only", "flag", "If set, just verify the index log without printing its content."),
    Option("index-sanity-check", "flag", "If set, just checks the index sanity without printing its content."),
    Option("max-bytes", "int", "Limit the amount of total batches read in bytes."),
    Option("max-message-size", "int", "Size of largest message."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
HELP = "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment."
DATA = "/var/lib/kafka/data/"
BATCH_OVERHEAD = 12
MAX_LINES = 1_000
"""A console's worth; --max-bytes chooses."""
_SNAPSHOT_ENTRY = struct.Struct(">qhiqiqiq")
_SNAPSHOT_HEAD_BYTES = 10
_TXN_ENTRY = struct.Struct(">hqqqq")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
MAX_INT = 2**31 - 1
Decoder = Callable[[bytes, "bytes | None", int], tuple[str, str]]


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(f'Exception in thread "main" {wrong.thrown}') from None
    if options.has("help"):
        return Job([HELP, *usage(OPTIONS)], 1)
    require(options, OPTIONS, "files")
    lines: list[str] = []
    troubles: list[str] = []
    for name in options.text("files").split(","):
        disk, path, shown = _find(lab, name.strip())
        lines.append(f"Dumping {shown}")
        suffix = "." + path.rpartition(".")[2]
        if suffix == ".log":
            lines += _log(disk, path, shown, options, troubles)
        elif suffix in _OTHERS:
            lines += _OTHERS[suffix](disk, path, shown, options, troubles)
        else:
            lines.append(f"Ignoring unknown file {shown}")
    lines += troubles
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES} lines more: --max-bytes shows less of a file"]
    return Job(lines)


def _find(lab: Lab, name: str) -> tuple[Disk, str, str]:
    """(disk, its path there, as shown). Raises UsageError with what there is."""
    machine, colon, path = name.rpartition(":")
    path = path.removeprefix(DATA).strip("/")
    path = "/".join(path.split("/")[-2:])
    topic, _, number = path.partition("/")[0].rpartition("-")
    if not colon:
        machine = _leader(lab, topic, number)
    host = lab.kernel.hosts.get(machine)
    if host is None or host.kind not in ("broker", "controller"):
        raise UsageError(
            f'Exception in thread "main" java.nio.file.NoSuchFileException: {name[:160]}', _available(lab, topic, number)
        )
    if not host.disk.exists(path):
        raise UsageError(
            f'Exception in thread "main" java.nio.file.NoSuchFileException: {DATA}{path[:160]}', _available(lab, topic, number)
        )
    return host.disk, path, f"{DATA}{path}"


def _leader(lab: Lab, topic: str, number: str) -> str:
    known = committed_image(lab.kernel).topics.get(topic)
    part = known.partitions.get(int(number)) if known is not None and number.isdecimal() else None
    return broker_name(part.leader) if part is not None else ""


def _available(lab: Lab, topic: str, number: str) -> str:
    prefix = f"{topic}-{number}/"
    found = [f"{host.name}:{path}" for host in lab.kernel.hosts.values() for path in host.disk.listing(prefix)] if topic else []
    if found:
        return f"There are: {', '.join(found[:12])}{' …' if len(found) > 12 else ''}"
    return "Name a machine and a partition's file: broker-1:orders-0/00000000000000000000.log"


# -- data ---------------------------------------------------------------------------------------------------------------------


def _log(disk: Disk, path: str, shown: str, options: Options, troubles: list[str]) -> list[str]:
    data = disk.read(path)
    most = options.number("max-bytes", MAX_INT)
    content = options.has("print-data-log") or options.has("offsets-decoder") or options.has("transaction-log-decoder")
    deep = content or options.has("deep-iteration")
    decoder: Decoder = _text
    if options.has("offsets-decoder"):
        decoder = offsets_record
    elif options.has("transaction-log-decoder"):
        decoder = transaction_record
    lines = [f"Log starting offset: {int(path.rpartition('/')[2].partition('.')[0])}"]
    position, last = 0, -1
    gaps: list[str] = []
    for batch in _batches(data[:most]):
        header = read_header(batch)
        lines.append(_batch_line(header, batch, position))
        if deep:
            for record in _records(batch):
                if last >= 0 and record.offset != last + 1:
                    gaps.append(f"  {last} is followed by {record.offset}")
                last = record.offset
                lines.append(
                    _record_line(header, batch, record, decoder if content else None, bare=options.has("skip-record-metadata"))
                )
        position += len(batch)
    if position < len(data) and most == MAX_INT:
        lines.append(f"Found {len(data) - position} invalid bytes at the end of {path.rpartition('/')[2]}")
    if gaps:
        troubles += [f"Non-consecutive offsets in {shown}", *reversed(gaps)]
    return lines


def _batches(data: bytes) -> list[bytes]:
    """Whole ones; what lies behind the last is no batch."""
    found, position = [], 0
    while len(data) - position >= BATCH_OVERHEAD:
        size = BATCH_OVERHEAD + int.from_bytes(data[position + 8 : position + BATCH_OVERHEAD], "big")
        if size < 61 or position + size > len(data):
            break
        found.append(data[position : position + size])
        position += size
    return found


def _records(batch: bytes) -> list[Record]:
    try:
        return decode(batch)
    except LogError:
        return []


def _batch_line(header: BatchHeader, batch: bytes, position: int) -> str:
    """``printBatchLevel``."""
    horizon = header.delete_horizon_ms
    kind = "LogAppendTime" if header.timestamp_type else "CreateTime"
    return (
        f"baseOffset: {header.base_offset} lastOffset: {header.last_offset} count: {header.record_count} "
        f"baseSequence: {header.base_sequence} lastSequence: {header.last_sequence} producerId: {header.producer_id} "
        f"producerEpoch: {header.producer_epoch} partitionLeaderEpoch: {header.partition_leader_epoch} "
        f"isTransactional: {_bool(header.is_transactional)} isControl: {_bool(header.is_control_batch)} "
        f"deleteHorizonMs: {f'OptionalLong[{horizon}]' if horizon is not None else 'OptionalLong.empty'} position: {position} "
        f"{kind}: {header.max_timestamp} size: {len(batch)} magic: {header.magic} compresscodec: {CODECS[header.compression % 5]} "
        f"crc: {header.crc} isvalid: {_bool(check_crc(batch))}"
    )


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _record_line(header: BatchHeader, batch: bytes, record: Record, decoder: Decoder | None, *, bare: bool) -> str:
    line = "|"
    if not bare:
        kind = "LogAppendTime" if header.timestamp_type else "CreateTime"
        sequence = header.base_sequence + record.offset - header.base_offset if header.base_sequence >= 0 else -1
        sizes = [len(content) if content is not None else -1 for content in (record.key, record.value)]
        names = ",".join(name for name, _ in record.headers)
        line += f" offset: {record.offset} {kind}: {record.timestamp_ms} keySize: {sizes[0]} valueSize: {sizes[1]}"
        line += f" sequence: {sequence} headerKeys: [{names}]"
    if header.is_control_batch:
        marker = None if bare else read_end_txn_marker(batch)
        return line if marker is None else f"{line} endTxnMarker: {marker.type.name} coordinatorEpoch: {marker.coordinator_epoch}"
    if decoder is None:
        return line
    key, value = decoder(record.key or b"", record.value, record.offset)
    line += f" key: {key}" if record.key is not None else ""
    return line + (f" payload: {value}" if value or record.value is not None else "")


def _text(key: bytes, value: bytes | None, offset: int) -> tuple[str, str]:
    return key.decode("utf-8", "replace"), value.decode("utf-8", "replace") if value is not None else ""


# -- indexes, producers, transactions -----------------------------------------------------------------------------------------


def _base(path: str) -> int:
    return int(path.rpartition("/")[2].partition(".")[0])


def _index(disk: Disk, path: str, shown: str, options: Options, troubles: list[str]) -> list[str]:
    """Each entry names the last offset of the batch that begins at its position."""
    data = disk.read(path)
    log = disk.read(path.removesuffix(".index") + ".log")
    entries = [struct.unpack_from(">ii", data, at) for at in range(0, len(data) - OFFSET_ENTRY_BYTES + 1, OFFSET_ENTRY_BYTES)]
    if not entries:
        return [f"{shown} is empty."]
    if options.has("index-sanity-check"):
        whole = len(data) % OFFSET_ENTRY_BYTES == 0
        return (
            [f"{shown} passed sanity check."]
            if whole
            else [f"org.apache.kafka.storage.internals.log.CorruptIndexException: {shown}"]
        )
    lines, wrong = [], []
    for relative, position in entries:
        offset = _base(path) + relative
        found = read_header(log, position).last_offset if position + 61 <= len(log) else -1
        if found != offset:
            wrong.append(f"  Index offset: {offset}, log offset: {found}")
        lines.append(f"offset: {offset} position: {position}")
    if wrong:
        troubles += [f"Mismatches in :{shown}", *wrong]
    return [] if options.has("verify-index-only") else lines


def _time_index(disk: Disk, path: str, shown: str, options: Options, troubles: list[str]) -> list[str]:
    data = disk.read(path)
    entries = [struct.unpack_from(">qi", data, at) for at in range(0, len(data) - TIME_ENTRY_BYTES + 1, TIME_ENTRY_BYTES)]
    if options.has("index-sanity-check"):
        return [f"{shown} passed sanity check."]
    before = -1
    for timestamp, _ in entries:
        if timestamp <= before:
            troubles += [
                f"Found out of order timestamp in :{shown}",
                f"  Index timestamp: {timestamp}, Previously indexed timestamp: {before}",
            ]
        before = timestamp
    return (
        []
        if options.has("verify-index-only")
        else [f"timestamp: {at} offset: {_base(path) + relative}" for at, relative in entries]
    )


def _snapshot(disk: Disk, path: str, shown: str, options: Options, troubles: list[str]) -> list[str]:
    data = disk.read(path)[_SNAPSHOT_HEAD_BYTES:]
    lines = []
    for row in _SNAPSHOT_ENTRY.iter_unpack(data[: len(data) // _SNAPSHOT_ENTRY.size * _SNAPSHOT_ENTRY.size]):
        producer_id, epoch, sequence, offset, delta, timestamp, coordinator_epoch, transaction = row
        last = ""
        if sequence >= 0:
            first = sequence - delta if sequence >= delta else sequence - delta + 2**31
            last = (
                f"firstSequence: {first} lastSequence: {sequence} lastOffset: {offset} offsetDelta: {delta} timestamp: {timestamp}"
            )
        lines.append(
            f"producerId: {producer_id} producerEpoch: {epoch} coordinatorEpoch: {coordinator_epoch} currentTxnFirstOffset: "
            f"{f'OptionalLong[{transaction}]' if transaction >= 0 else 'OptionalLong.empty'} lastTimestamp: {timestamp} {last}"
        )
    return lines


def _txn_index(disk: Disk, path: str, shown: str, options: Options, troubles: list[str]) -> list[str]:
    data = disk.read(path)
    rows = _TXN_ENTRY.iter_unpack(data[: len(data) // _TXN_ENTRY.size * _TXN_ENTRY.size])
    return [
        f"version: {version} producerId: {producer_id} firstOffset: {first} lastOffset: {last} lastStableOffset: {stable}"
        for version, producer_id, first, last, stable in rows
    ]


_OTHERS: dict[str, Callable[[Disk, str, str, Options, list[str]], list[str]]] = {
    ".index": _index,
    ".timeindex": _time_index,
    ".snapshot": _snapshot,
    ".txnindex": _txn_index,
}
