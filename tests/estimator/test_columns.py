"""Tables to matrices and back: against scikit-learn, and refusals that show no value."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from jvade.columns import MAX_CATEGORIES, Columns, learn


def test_the_matrix_is_that_of_scikit_learn(table):
    frame, _ = table
    columns = learn(frame)
    assert [column.kind for column in columns.each] == [
        "numeric",
        "numeric",
        "binary",
        "binary",
        "categorical",
    ]
    scaled = np.nan_to_num(StandardScaler().fit_transform(frame[["age", "cost"]]))
    codes = OneHotEncoder(sparse_output=False).fit_transform(frame[["level"]])
    want = np.column_stack([scaled, frame[["female", "insured"]].astype(float), codes])
    np.testing.assert_allclose(columns.encode(frame), want, rtol=1e-6, atol=1e-6)
    assert columns.width == 7


def test_there_and_back(table):
    frame, _ = table
    columns = learn(frame)
    back = columns.decode(columns.encode(frame))
    assert back["level"].tolist() == frame["level"].tolist()
    np.testing.assert_allclose(back["age"].astype(float), frame["age"], rtol=1e-5)
    np.testing.assert_allclose(
        back["cost"].astype(float), frame["cost"].fillna(frame["cost"].mean()), rtol=1e-5
    )


def test_columns_survive_json(table):
    columns = learn(table[0])
    assert Columns.from_dict(json.loads(json.dumps(columns.to_dict()))) == columns


def test_what_is_missing_or_unknown_is_nought_everywhere():
    columns = learn(pd.DataFrame({"a": [1.0, 3.0], "b": ["x", "y"]}))
    new = pd.DataFrame({"a": [np.nan, 2.0], "b": ["z", None]})
    np.testing.assert_array_equal(columns.encode(new), np.zeros((2, 3)))


def test_a_constant_column_and_one_without_values_are_nought():
    frame = pd.DataFrame({"same": [0.1] * 3, "none": [np.nan] * 3, "b": [1.0, 2, 3]})
    np.testing.assert_array_equal(learn(frame).encode(frame)[:, :2], np.zeros((3, 2)))


def test_kinds_can_be_given(table):
    frame, _ = table
    columns = learn(frame, {"female": "categorical", "insured": "numeric"})
    assert [column.kind for column in columns.each][2:4] == ["categorical", "numeric"]
    assert columns.each[2].categories == (0, 1)
    assert set(columns.encode(frame)[:, 2:4].sum(axis=1)) == {1.0}


@pytest.mark.parametrize(
    ("values", "kinds", "words"),
    [
        ([1.0, np.inf, 2.0], {}, "column 'a': expected finite numbers, got 1 of 3 infinite"),
        (
            [0, 1, 737],
            {"a": "binary"},
            "column 'a': expected 0 or 1 in every row of a binary column, got 1 of 3",
        ),
        (["x", "y", "z"], {"a": "numeric"}, "column 'a': expected numbers in a numeric column"),
        ([0, 1, 1], {"b": "binary"}, "kinds: no such columns: b; there are .'a'"),
        ([0, 1, 1], {"a": "ordinal"}, "kinds: expected one of numeric, binary, categorical for a"),
        ([f"name {i}" for i in range(MAX_CATEGORIES + 1)], {}, "column 'a': 51 categories, at most 50"),
    ],
)
def test_what_cannot_be_used_is_named_and_no_value_shown(values, kinds, words):
    with pytest.raises(ValueError, match=words) as caught:
        learn(pd.DataFrame({"a": values}), kinds)
    assert "737" not in str(caught.value)
    assert "name 7" not in str(caught.value)


def test_new_rows_of_a_binary_column_are_checked():
    columns = learn(pd.DataFrame({"a": [0, 1, 1]}))
    with pytest.raises(ValueError, match="got 2 of 3 that are neither"):
        columns.encode(pd.DataFrame({"a": [737, np.nan, 1]}))
