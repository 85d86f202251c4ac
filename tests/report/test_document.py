"""Pages: tables that a reader of Markdown reads, HTML that needs nothing from elsewhere."""

import warnings

import numpy as np
import pandas as pd
import pytest

from jvade.report import document
from jvade.report.figures import style
from jvade.report.handout import export


def test_a_table_has_its_numbers_to_the_right_and_blanks_as_dashes():
    frame = pd.DataFrame({"name": ["a|b", None], "share": [12.345, np.nan], "n": [1234, 5]})
    assert document.table(frame, {"share": ".1f", "n": ",.0f"}).splitlines() == [
        "| name | share | n |",
        "| :-- | --: | --: |",
        "| a\\|b | 12.3 | 1,234 |",
        "| - | - | 5 |",
    ]


def test_numbers_become_words():
    assert [document.number(x) for x in (None, np.nan, True, np.bool_(False), "x", 0.12345)] == [
        "-", "-", "yes", "no", "x", "0.123",
    ]  # fmt: skip


def test_html_shows_what_markdown_says_and_runs_nothing():
    text = document.page(["# A <b>title</b>", "", document.table(pd.DataFrame({"a": [1]}))])
    html = document.to_html(text, "A & B")
    assert "<title>A &amp; B</title>" in html
    assert "<h1>A &lt;b&gt;title&lt;/b&gt;</h1>" in html
    assert html.count("<table>") == 1
    assert "<script" not in html


def test_letters_that_no_font_has_are_told_once_and_other_warnings_stay(monkeypatch):
    monkeypatch.setitem(style.STYLE, "font.family", ["DejaVu Sans"])
    figure, axes = style.one_axes(2, 2)
    axes.set_title("黄浦区", fontfamily="DejaVu Sans")
    with style.missing_letters() as missing:
        style.writers(figure)
    assert len(missing) >= 3
    assert "missing from font" in missing[0]
    with pytest.warns(UserWarning, match="another"), style.missing_letters() as missing:
        warnings.warn("another", UserWarning, stacklevel=1)
    assert missing == []


def test_pictures_whose_names_would_be_boxes_are_known():
    assert export.undrawn(["<text>Huangpu</text>", "<text>黄浦区</text>"])
    assert not export.undrawn(["<text>São Paulo, 12 %\n±</text>"])
