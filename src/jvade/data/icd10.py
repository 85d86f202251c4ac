"""ICD-10 codes: which are real, and which group of the study (Table 2) each belongs to.

A code is reduced to its three-character category, and groups are ranges of categories compared as
strings. The comparison uses only `>=`, `<=`, `&` and `|`, so the same table serves a Python string, a
pandas column and an Ibis expression.

A code counts by its shape: E99, which the WHO's list lacks, still lies in the chapter of its letter, because
national editions and later years add categories inside the chapters (K95, I16), and no list has them all.
"""

import re
from typing import Any

#: Removed wherever they stand in a code: the ASCII spaces, and those of Chinese text and of web pages.
SPACES = " \t\r\n\u3000\u00a0"
#: Of a code in upper case and without spaces; Python, DuckDB (RE2) and Spark (Java) read it alike. After the
#: category comes nothing, or a subdivision, extended or not (I219, I10.-, I10.X00, C16.900X001, S72.001A),
#: then perhaps the mark of a pair and the other code (A17.0†, A17.0+G01*). Refused are morphology codes
#: (M8140/3), which would read as musculoskeletal, two codes in one cell, and a second dot, which the codes
#: of Chinese medicine have.
PATTERN = "^[A-Z][0-9]{2}([.]-|[.]?[0-9X]*([A-Z][0-9]?)?)([†+*!][0-9A-Z.†+*!]*)?$"

Ranges = tuple[tuple[str, str], ...]


def _chapter(letter: str) -> Ranges:
    return ((f"{letter}00", f"{letter}99"),)


#: First and last category of each diagnosis flag. Chapters without a flag give no flag at all.
DIAGNOSIS_RANGES: dict[str, Ranges] = {
    "malignant_neoplasm": (("C00", "C97"),),
    "other_neoplasm": (("D00", "D48"),),
    "endocrine": _chapter("E"),
    "mental": _chapter("F"),
    "eye": (("H00", "H59"),),
    "circulatory": _chapter("I"),
    "respiratory": _chapter("J"),
    "digestive": _chapter("K"),
    "skin": _chapter("L"),
    "musculoskeletal": _chapter("M"),
    "pregnancy": _chapter("O"),
    "perinatal": _chapter("P"),
    "congenital": _chapter("Q"),
    "symptoms": _chapter("R"),
    "health_factors": _chapter("Z"),
}
CHRONIC_RANGES: dict[str, Ranges] = {
    "hypertension": (("I10", "I15"),),
    "diabetes": (("E10", "E14"),),
}


def plain(code: Any) -> Any:
    """Return a code, a string or an Ibis expression, in upper case and without spaces."""
    for space in SPACES:
        code = code.replace(space, "")
    return code.upper()


def category(code: str | None) -> str | None:
    """Return the three-character category of a code, or None where it is no ICD-10 code.

    Args:
        code: a code in any case, with or without the dot, extended or not.
    """
    found = plain(code or "")
    return found[:3] if re.match(PATTERN, found) else None


def in_ranges(category: Any, ranges: Ranges) -> Any:
    """Return whether a category lies in one of the ranges.

    Args:
        category: a three-character category: a string, a pandas column or an Ibis expression.
        ranges: first and last category of each range, both included.

    Returns:
        A truth value of the same sort as `category`.
    """
    (first, last), *rest = ranges
    found = (category >= first) & (category <= last)
    return found | in_ranges(category, tuple(rest)) if rest else found
