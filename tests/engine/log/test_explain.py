"""The byte microscope: spans tile the bytes, whatever the bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.log.compression import Compression
from engine.log.explain import Span, explain
from engine.log.record_batch import build_batch
from tests.engine.log.helpers import NOW, batch
from tests.engine.log.test_record_batch import RECORDS, TYPES


def assert_tiled(spans: list[Span], section: str, size: int | None = None) -> None:
    position = 0
    for span in spans:
        if span.section == section:
            assert span.start == position
            assert span.end > span.start
            position = span.end
    assert size is None or position == size


@given(RECORDS, TYPES, st.data())
@settings(max_examples=150, deadline=None)
def test_spans_tile_every_batch_whole_or_damaged(records, kind, data) -> None:
    whole = build_batch(records, compression=kind)
    spans = explain(whole)
    assert_tiled(spans, "batch", len(whole))
    assert_tiled(spans, "records")
    assert not any(span.name in ("unreadable", "cut short", "beyond the batch") for span in spans)
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if damaged:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(0, 255))
    assert_tiled(explain(bytes(damaged)), "batch", len(damaged))
    assert_tiled(explain(whole + b"junk"), "batch", len(whole) + 4)


@given(st.binary(max_size=120))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_tiled_too(data) -> None:
    assert_tiled(explain(data), "batch", len(data))


def test_what_the_microscope_says() -> None:
    data = batch(b"hello", producer=(7, 1, 3))
    spans = {span.name: span for span in explain(data)}
    assert spans["crc"].value.endswith("computed: ok")
    assert spans["producerId"].value == "7"
    assert spans["record 0 value"].value == "hello"
    assert spans["record 0 timestampDelta"].note == f"Base timestamp plus this: {NOW}."
    assert spans["attributes"].bits[0][1] == "none"
    broken = bytearray(data)
    broken[-2] ^= 1
    assert {span.name: span for span in explain(bytes(broken))}["crc"].value.endswith("wrong")
    packed = explain(batch(b"hello" * 50, compression=Compression.GZIP))
    assert [span.section for span in packed if span.name == "record 0 value"] == ["records"]
