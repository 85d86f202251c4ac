import pandas as pd
import pytest

from jvade.data import icd10
from jvade.data.variables import DIAGNOSES

CODES = [
    ("I10.x00", "I10", "circulatory"),
    ("C16.900x001", "C16", "malignant_neoplasm"),
    ("C97", "C97", "malignant_neoplasm"),
    ("D00.0", "D00", "other_neoplasm"),
    ("D48.9", "D48", "other_neoplasm"),
    ("D50", "D50", None),
    ("E119", "E11", "endocrine"),
    ("F32", "F32", "mental"),
    ("H59.9", "H59", "eye"),
    ("H60", "H60", None),
    ("I219", "I21", "circulatory"),
    (" j18.9 ", "J18", "respiratory"),
    ("K 35", "K35", "digestive"),
    ("L40", "L40", "skin"),
    ("M54.5", "M54", "musculoskeletal"),
    ("O80", "O80", "pregnancy"),
    ("P07", "P07", "perinatal"),
    ("Q21", "Q21", "congenital"),
    ("R50.9", "R50", "symptoms"),
    ("Z992", "Z99", "health_factors"),
    ("A00", "A00", None),
    ("S72001A", "S72", None),
    ("M8140/3", None, None),
    ("M80003/3", None, None),
    ("0000", None, None),
    ("I1", None, None),
    ("I10-", None, None),
    ("", None, None),
    (None, None, None),
]


@pytest.mark.parametrize(("code", "category", "flag"), CODES)
def test_code_gives_its_category_and_at_most_one_flag(code, category, flag):
    assert icd10.category(code) == category
    found = [n for n, r in icd10.DIAGNOSIS_RANGES.items() if category and icd10.in_ranges(category, r)]
    assert found == ([flag] if flag else [])


def test_ranges_are_the_flags_of_the_study_in_its_order():
    assert list(icd10.DIAGNOSIS_RANGES) == [variable.name for variable in DIAGNOSES]


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [("hypertension", ("I10", "I15"), ("I16", "H99")), ("diabetes", ("E10", "E14"), ("E09", "E15"))],
)
def test_chronic_ranges_include_both_ends(name, inside, outside):
    ranges = icd10.CHRONIC_RANGES[name]
    assert all(icd10.in_ranges(category, ranges) for category in inside)
    assert not any(icd10.in_ranges(category, ranges) for category in outside)


def test_ranges_serve_a_pandas_column_and_several_ranges():
    found = icd10.in_ranges(pd.Series(["A01", "B05", "C09"]), (("A00", "A99"), ("C00", "C10")))
    assert found.tolist() == [True, False, True]
