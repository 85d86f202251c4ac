"""Pages: tables that a reader of Markdown reads, HTML that needs nothing from elsewhere."""

import numpy as np
import pandas as pd

from jvade.report import document


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
