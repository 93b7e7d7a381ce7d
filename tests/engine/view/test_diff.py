"""A patch folded into the old tree gives the new one, whatever the trees hold."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.view.diff import apply, diff

KEYS = st.sampled_from(["-", "--", "---", "-a", "a", "b", "broker-1", "", "__proto__"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "-", "up", "down"]))
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(TREES, TREES)
def test_old_plus_patch_is_new(old: Any, new: Any) -> None:
    assert apply(old, diff(old, new)) == new


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=4), st.dictionaries(KEYS, TREES, max_size=4))
def test_dictionaries_too_and_the_old_tree_stays(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = repr(old)
    assert apply(old, diff(old, new)) == new
    assert repr(old) == before


def test_equal_trees_give_an_empty_patch() -> None:
    assert diff({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}) == {}


def test_a_patch_holds_only_what_changed() -> None:
    old = {"nodes": {"broker-1": {"status": "up", "since_us": 0}}, "links": {"a>b": {}}, "now_us": 1}
    new = {"nodes": {"broker-1": {"status": "down", "since_us": 0}}, "links": {}, "now_us": 1}
    assert diff(old, new) == {"nodes": {"broker-1": {"status": "down"}}, "links": {"-": ["a>b"]}}


def test_true_and_one_differ_as_they_do_in_json() -> None:
    assert diff({"full": 1}, {"full": True}) == {"full": True}


def test_a_key_that_looks_like_the_mark_is_escaped() -> None:
    assert diff({"-": 1, "-x": 1}, {"-": 2}) == {"--": 2, "-": ["-x"]}
