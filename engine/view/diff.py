"""What changed between two views, as a small JSON patch; its twin in JavaScript folds the patch into the tree it holds.

A patch follows one rule, at the root and below: **an object laid over an object merges; anything else replaces.** In a merge, each key
of the patch names a key of the tree, with two marks:

* ``"-"`` holds the list of keys to remove (as they are called in the tree);
* a key of the tree that itself begins with ``-`` is written with one more ``-`` in front (``"-"`` travels as ``"--"``).

An object that replaces something (or is new) stands as it is, its keys unmarked; so does everything within lists, which are always
replaced whole. The empty object is the patch of two equal objects. Keys may be any text (``__proto__`` is a legal topic name), so that
the twin must hold the tree in maps or in objects without a prototype::

    old   {"nodes": {"broker-1": {"status": "up", "since_us": 0}}, "links": {"a>b": {}}}
    new   {"nodes": {"broker-1": {"status": "down", "since_us": 0}}, "links": {}}
    patch {"nodes": {"broker-1": {"status": "down"}}, "links": {"-": ["a>b"]}}
"""

from __future__ import annotations

from typing import Any

REMOVED = "-"


def diff(old: Any, new: Any) -> Any:
    """The patch that makes ``new`` of ``old``; both are trees of dict (text keys), list and scalars. Shares parts with ``new``."""
    if type(old) is not dict or type(new) is not dict:
        return new
    patch: dict[str, Any] = {}
    for key, value in new.items():
        before = old.get(key, _ABSENT)
        if before is value:
            continue
        if type(before) is dict and type(value) is dict:
            if before != value:
                patch[REMOVED + key if key[:1] == REMOVED else key] = diff(before, value)
        elif type(before) is not type(value) or before != value:
            patch[REMOVED + key if key[:1] == REMOVED else key] = value
    removed = [key for key in old if key not in new]
    if removed:
        patch[REMOVED] = removed
    return patch


def apply(old: Any, patch: Any) -> Any:
    """The tree that ``patch`` makes of ``old``, which stays as it is; unchanged parts are shared."""
    if type(old) is not dict or type(patch) is not dict:
        return patch
    tree: dict[str, Any] = dict(old)
    for key, value in patch.items():
        if key[:1] == REMOVED:
            if key == REMOVED:
                continue
            key = key[1:]
        before = tree.get(key, _ABSENT)
        tree[key] = apply(before, value) if type(before) is dict and type(value) is dict else value
    for key in patch.get(REMOVED, ()):
        tree.pop(key, None)
    return tree


_ABSENT = object()
