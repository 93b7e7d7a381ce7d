"""Whatever arrives is either a command or a refusal that names the field; nothing else, and never a crash."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import commands as cm
from engine import limits
from engine.errors import EngineError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({field for command in cm.COMMANDS.values() for field in command.__struct_fields__})


@given(st.binary(max_size=200))
def test_random_bytes(content: bytes) -> None:
    with pytest.raises(EngineError):
        cm.parse(content)


@given(st.sampled_from(sorted(cm.COMMANDS)), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_random_fields(name: str, fields: dict[str, object]) -> None:
    content = json.dumps({"type": name, **fields})
    try:
        command = cm.parse(content)
    except EngineError as refusal:
        said = refusal
        command = None
    else:
        said = None
        assert cm.parse(cm.to_json(command)) == command
    assert command is not None or (said is not None and said.message and said.field)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"type": "Nonsense"}, "type"),
        ({}, "$"),
        ({"type": "KillNode"}, "$"),
        ({"type": "KillNode", "node": 3}, "node"),
        ({"type": "KillNode", "node": "broker-1", "extra": 1}, "$"),
        ({"type": "CreateTopic", "topic": "t", "partitions": 10**9}, "partitions"),
        ({"type": "CreateTopic", "topic": "<b>orders</b>"}, "topic"),
        ({"type": "CreateTopic", "topic": "t" * 250}, "topic"),
        ({"type": "CreateTopic", "topic": "t" * 1_000_000}, "topic"),
        ({"type": "Produce", "topic": "t", "value": "x" * (limits.MAX_VALUE_BYTES + 1)}, "value"),
        ({"type": "Produce", "topic": "t", "value": "\ud800"}, "value"),
        ({"type": "Produce", "topic": "t", "key": "a\0b"}, "key"),
        ({"type": "Produce", "topic": "t", "headers": [{"name": "h", "value": "\udfff"}]}, "headers[0].value"),
        ({"type": "DegradeNetwork", "source": "a", "target": "b", "loss_percent": float("nan")}, "loss_percent"),
        ({"type": "DegradeNetwork", "source": "a", "target": "b", "loss_percent": float("inf")}, "loss_percent"),
        ({"type": "DegradeNetwork", "source": "a", "target": "b", "delay_ms": -1}, "delay_ms"),
        ({"type": "CreateProducer", "name": "p", "configs": {f"k{n}": "v" for n in range(99)}}, "configs"),
    ],
)
def test_bad_input_names_its_field(content: dict[str, object], field: str) -> None:
    with pytest.raises(EngineError) as refused:
        cm.parse(content)
    assert refused.value.field == field


def test_text_in_values_is_kept_as_it_is() -> None:
    value = "<script>alert('ü')</script>\n\t"
    command = cm.parse(json.dumps({"type": "Produce", "topic": "orders", "value": value}))
    assert isinstance(command, cm.Produce)
    assert command.value == value
