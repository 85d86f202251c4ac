"""A page of text, tables and figures as Markdown, and the same as HTML."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markdown_it import MarkdownIt

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid #e3e7eb; padding-top: 1.5rem }
table { border-collapse: collapse; font-size: 0.85rem; display: block; overflow-x: auto; margin: 1rem 0 }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #e3e7eb; white-space: nowrap; text-align: left }
img { max-width: 100%; height: auto } code { background: #f3f5f7; padding: 0.1rem 0.3rem }
em { color: #52606d }
"""

#: What tables call each index of `analysis.indices`, by its name there.
HEADS = {
    "silhouette": "silhouette",
    "davies_bouldin": "Davies-Bouldin",
    "calinski_harabasz": "Calinski-Harabasz",
}


def number(value: object, form: str = ".3g") -> str:
    """Return a number as text, "-" where it is blank; text stays as it is."""
    if value is None:
        return "-"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, float, np.integer, np.floating)):
        return "-" if np.isnan(float(value)) else format(value, form)
    return str(value)


def table(frame: pd.DataFrame, forms: Mapping[str, str] | None = None) -> str:
    """Return a table in Markdown, numbers to the right.

    Args:
        frame: a column per column; names are the heading.
        forms: format of the numbers of a column, ".3g" if not given.
    """
    forms = forms or {}
    right = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    head = [str(name) for name in frame.columns]
    rule = ["--:" if one else ":--" for one in right]
    rows = [
        [
            _cell(number(value, forms.get(str(name), ".3g")))
            for name, value in zip(frame.columns, row, strict=True)
        ]
        for row in frame.itertuples(index=False, name=None)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def figure(name: str, words: str) -> str:
    """Return a figure that lies beside the page, its words for those who cannot see it."""
    return f"![{words}]({name}.png)\n\n*{words}*"


def page(parts: Sequence[str]) -> str:
    """Return parts of a page as one text; empty ones are left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def to_html(markdown: str, title: str) -> str:
    """Return Markdown as a page of HTML that needs nothing but the figures beside it."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
