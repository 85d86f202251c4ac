"""A later file with the encoding of an earlier one, and the scaling of a file against its own rows."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from jvade.data import features
from jvade.data.errors import InputError
from jvade.data.features import load, read_visits, write_features
from jvade.data.mapping import parse_mapping
from jvade.data.matrix import fit_scaling, from_matrix, to_matrix
from jvade.data.onehot import Coding, choose_levels

SECRET = "QX7731"


def with_unseen(mapping, unseen: str):
    return dataclasses.replace(
        mapping,
        subdistrict=dataclasses.replace(mapping.subdistrict, unseen=unseen),
        further=tuple(dataclasses.replace(part, unseen=unseen) for part in mapping.further),
    )


def test_unseen_code_is_refused_with_the_name_of_its_column_and_not_its_own(visits, mapping, write):
    first = read_visits(write(visits), mapping)
    for column in ("STREET", "PAYER"):
        later = write(visits.assign(**{column: [SECRET, *visits[column][1:]]}))
        with pytest.raises(InputError) as caught:
            read_visits(later, mapping, first.levels)
        assert str(caught.value).startswith(f"visits.csv: column '{column}': 1 code that the first file")
        assert SECRET not in str(caught.value)


def test_unseen_code_counts_as_the_one_left_out_where_the_mapping_says_so(visits, mapping, write):
    mapping = with_unseen(mapping, "left out")
    first = read_visits(write(visits), mapping)
    later = visits.assign(STREET=[SECRET, *visits["STREET"][1:]])
    left_out = visits.assign(STREET=[first.levels["subdistrict"][0], *visits["STREET"][1:]])
    one, other = (read_visits(write(frame), mapping, first.levels) for frame in (later, left_out))
    pd.testing.assert_frame_equal(one.frame, other.frame)
    assert one.inputs == first.inputs
    told = [text for text in one.account.warnings if "first file" in text]
    assert told == [
        "column 'STREET': 1 code that the first file did not have, in 1 row; such a row has none of the "
        "inputs, as has one of the code left out"
    ]
    assert not any("first file" in text for text in (*other.account.warnings, *first.account.warnings))


@pytest.mark.parametrize("column", ["STREET", "PAYER", "COST", "GRADE", "WAIT", "DX2"])
def test_column_missing_from_later_data_is_refused_by_name(visits, mapping, write, column):
    levels = {"subdistrict": ("s1", "s2", "s3"), "payer": ("B", "C", "D")}
    with pytest.raises(InputError, match=rf"column '{column}' \(named by '[^']+'\): missing"):
        read_visits(write(visits.drop(columns=column)), mapping, levels)


def test_a_code_to_leave_out_that_no_visit_has_is_told(visits, mapping, write):
    subdistrict = dataclasses.replace(mapping.subdistrict, left_out="s9")
    mistyped = read_visits(write(visits), dataclasses.replace(mapping, subdistrict=subdistrict))
    told = [text for text in mistyped.account.warnings if "left out" in text]
    assert len(told) == 1
    assert told[0].startswith(f"column 'STREET': '{mistyped.levels['subdistrict'][0]}' is left out, not 's9'")
    assert mistyped.levels == read_visits(write(visits), mapping).levels
    subdistrict = dataclasses.replace(mapping.subdistrict, left_out="s2")
    right = read_visits(write(visits), dataclasses.replace(mapping, subdistrict=subdistrict))
    assert right.levels["subdistrict"][0] == "s2"
    assert not any("left out" in text for text in right.account.warnings)


def test_later_data_have_the_same_columns_in_the_same_order(visits, mapping, write):
    first = read_visits(write(visits), mapping)
    few = visits[visits["STREET"] == "s3"].assign(STATUS="ok", COST="3")  # one street of three, one payer
    turned = visits[visits.columns[::-1]]
    for later, ending in ((few, ".csv"), (few[few.columns[::-1]], ".parquet"), (turned.iloc[::-1], ".csv")):
        again = read_visits(write(later, ending), mapping, first.levels)
        assert again.inputs == first.inputs
        assert again.levels == first.levels
        assert list(again.frame) == list(first.frame)
        assert (again.frame[again.names].dtypes == first.frame[first.names].dtypes).all()


def test_scaling_of_mapped_data_and_its_inverse(visits, mapping, write):
    table = read_visits(write(visits), mapping)
    scaling = fit_scaling(table.frame, table.inputs)
    matrix = to_matrix(table.frame, scaling)
    back = from_matrix(matrix, scaling)
    for variable in table.inputs:
        values = table.frame[variable.name].astype(float)
        filled = values.fillna(values.mean())  # a gap before a first visit comes back as the mean
        np.testing.assert_allclose(back[variable.name], filled, rtol=1e-6, atol=1e-6)
    # A later file takes the scaling of the first: the same value gets the same number.
    later = read_visits(write(visits.iloc[[0, 2]]), mapping, table.levels)
    np.testing.assert_array_equal(to_matrix(later.frame, scaling)[0], matrix[0])


def test_scaling_that_was_measured_on_disk_is_that_of_the_loaded_frame(visits, mapping, write, tmp_path):
    chance = np.random.default_rng(5)
    many = visits.sample(3000, replace=True, random_state=5).reset_index(drop=True)
    many["COST"] = np.where(chance.random(3000) < 0.1, None, np.exp(chance.normal(5, 2, 3000)).round(2))
    many["WAIT"] = np.where(chance.random(3000) < 0.3, None, 1e6 + chance.normal(0, 1, 3000))
    many["AGE"] = chance.integers(0, 100, 3000) / 4
    written = write_features(write(many.astype(object), ".csv"), mapping, tmp_path / "features.parquet")
    table = load(tmp_path / "features.parquet", written)
    fitted = fit_scaling(table.frame, table.inputs)
    assert (written.scaling.names, written.scaling.kinds) == (fitted.names, fitted.kinds)
    assert written.scaling.constant == fitted.constant
    np.testing.assert_allclose(written.scaling.means, fitted.means, rtol=1e-6)
    np.testing.assert_allclose(written.scaling.scales, fitted.scales, rtol=1e-6)


CODED = """
age = { column = "AGE" }
sex = { column = "SEX", female = ["F"], male = ["M"] }
outcome = { residence = "LIVES", place = "TREATED" }
cost = { column = "COST" }
further = [{ name = "payer", column = "PAYER", kind = "categorical", max_levels = 3 }]
"""


@pytest.mark.parametrize(
    ("payers", "levels", "positions"),
    [  # a code that is called "other" is a code like others, and takes the rare ones in
        ("basic basic other private x y", ("basic", "other"), [0, 0, 1, 1, 1, 1]),
        ("other other other a b b", ("other", "a", "b"), [0, 0, 0, 1, 2, 2]),
        ("basic basic basic other z z", ("basic", "other", "z"), [0, 0, 0, 1, 2, 2]),
        ("other other other a b c", ("other", "a"), [0, 0, 0, 1, 0, 0]),
    ],
)
def test_a_code_called_other(visits, write, payers, levels, positions):
    frame = visits.iloc[:6].assign(PAYER=payers.split(), COST="1")
    found = read_visits(write(frame), parse_mapping(CODED))
    assert found.levels["payer"] == levels
    assert {v.code_of for v in found.inputs if v.name.startswith("payer_")} <= {"further: payer"}
    got = np.zeros(6, dtype=int)
    for i, name in enumerate([n for n in found.names if n.startswith("payer_")], start=1):
        got += i * found.frame[name].to_numpy(dtype=int)
    assert got.tolist() == positions


def test_other_is_never_twice_among_the_levels():
    coding = Coding("payer", "Payer", "further", "PAYER", max_levels=3)
    for counts in (
        {"other": 9, "a": 3, "b": 2, "c": 1},
        {"a": 9, "other": 8, "b": 2, "c": 1},
        {"a": 1, "other": 1},
    ):
        levels = choose_levels(counts, coding)
        assert len(set(levels)) == len(levels) <= 3


def test_names_made_of_codes_meet_no_other_name(visits, write):
    frame = visits.iloc[:6].assign(COST="1", PAYER=["甲", "乙", "乙", "丙", "a", "a!"], WAIT="1")
    many = CODED.replace("max_levels = 3", "max_levels = 9")
    names = read_visits(write(frame), parse_mapping(many)).names
    assert len(set(names)) == len(names)
    assert all(name.isascii() and not name.endswith("_") for name in names)
    number = '{ name = "payer_a", column = "WAIT", kind = "numeric" }'
    for taken in (
        many.replace("further = [", f"further = [{number}, "),
        many + '[describe]\npayer_a = "LIVES"',
    ):
        with pytest.raises(InputError, match="name 'payer_a': a code gives this name to an input"):
            read_visits(write(frame), parse_mapping(taken))


def test_features_are_written_as_they_are_read(visits, mapping, write, tmp_path):
    path = write(visits)
    written = features.write_features(path, mapping, tmp_path / "features.parquet")
    loaded, read = load(tmp_path / "features.parquet", written), read_visits(path, mapping)
    pd.testing.assert_frame_equal(loaded.frame, read.frame)
    assert (loaded.inputs, loaded.extras, loaded.levels) == (read.inputs, read.extras, read.levels)
