"""ICD-10 codes: which are real, and which group of the study (Table 2) each belongs to.

A code is reduced to its three-character category, and groups are ranges of categories compared as
strings. The comparison uses only `>=`, `<=`, `&` and `|`, so the same table serves a Python string, a
pandas column and an Ibis expression.
"""

import re
from typing import Any

#: Of a code in upper case and without spaces. Lets Chinese extended codes pass (I10.x00, C16.900x001) and
#: codes without a dot (I219); refuses morphology codes (M8140/3), which would read as musculoskeletal.
PATTERN = r"^[A-Z][0-9]{2}(\.|$|[0-9][^/]*$)"

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


def category(code: str | None) -> str | None:
    """Return the three-character category of a code, or None where it is no ICD-10 code.

    Args:
        code: a code in any case, with or without the dot, extended or not.
    """
    code = (code or "").strip().replace(" ", "").upper()
    return code[:3] if re.match(PATTERN, code) else None


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
