"""A lesson's prose on the page: what Markdown can, and nothing that could do harm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.render import render, render_line


def test_prose_tables_lists_and_links_come_through() -> None:
    html = render(
        'A **word**, `code` and [a link](https://kafka.apache.org/ "Kafka").\n\n- one\n\n| a | b |\n|---|---|\n| 1 | 2 |\n'
    )
    for part in (
        "<strong>word</strong>",
        "<code>code</code>",
        'href="https://kafka.apache.org/"',
        "noopener",
        "<li>one</li>",
        "<td>1</td>",
    ):
        assert part in html
    assert render_line("Is `acks` *all*?") == "Is <code>acks</code> <em>all</em>?"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,AAAA)",
        "![x](https://example.com/pixel.png)",
        '<a href="#" style="x" onclick="y">z</a>',
        "<iframe src='//example.com'></iframe>",
        "<svg/onload=alert(1)>",
    ],
)
def test_nothing_harmful_comes_through(text: str) -> None:
    for html in (render(text), render_line(text)):
        for tag in ("<script", "<img", "<iframe", "<svg", "<style", 'href="javascript', 'href="data', '<a href="#" style'):
            assert tag not in html.lower()


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_renders(text: str) -> None:
    assert "<script" not in render(text).lower()
