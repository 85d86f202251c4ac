"""Tables to matrices and back: against scikit-learn, and refusals that show no value."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from jvade.columns import MAX_CATEGORIES, MIN_ROWS, Column, Columns, TableError, kinds_of, learn
from jvade.core.settings import Block


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


def test_what_is_missing_rare_or_unknown_is_nought_everywhere():
    """A category of fewer than eight rows may be a person: the model does not keep its name."""
    columns = learn(pd.DataFrame({"a": [1.0, 3.0] * 12, "b": ["x"] * 9 + ["y"] * 8 + ["Zhang"] * 7}))
    assert columns.each[1].categories == ("x", "y")
    new = pd.DataFrame({"a": [np.nan, 2.0, 2.0], "b": ["Zhang", None, "w"]})
    np.testing.assert_array_equal(columns.encode(new), np.zeros((3, 3)))
    assert columns.unknown(new) == {"b": 2}


def test_a_column_of_one_value_or_none_tells_nothing_whatever_comes():
    frame = pd.DataFrame({"same": [3.0] * 9, "none": [np.nan] * 9, "text": [None] * 9, "b": [1.0, 2, 3] * 3})
    columns = learn(frame)
    new = pd.DataFrame({"same": [12.0], "none": [5000.0], "text": ["x"], "b": [2.0]})
    np.testing.assert_array_equal(columns.encode(new), [[0, 0, 0]])  # a text without a category has no column
    back = columns.decode(columns.encode(new))
    assert back.iloc[0, :3].tolist() == [3.0, 0.0, None]


def test_a_missing_truth_value_counts_as_the_share():
    columns = learn(pd.DataFrame({"a": [1, 0, 0, np.nan, 0] * 8}))
    assert columns.each[0].kind == "binary"
    np.testing.assert_array_equal(columns.encode(pd.DataFrame({"a": [np.nan, 1]}))[:, 0], [0.25, 1])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.array([1, 2, None, 4], "Int64"), "numeric"),
        (pd.array([True, False, None, True], "boolean"), "binary"),
        (pd.array([1.5, 2, None, 4], "Float64"), "numeric"),
        (pd.Series([1, 2.5, None, 4], dtype=object), "numeric"),
        (pd.Series([True, False, None, True], dtype=object), "binary"),
        (pd.Series(["x", "y"] * 8, dtype="category"), "categorical"),
        (pd.array(["x", "y"] * 8, "string"), "categorical"),
    ],
)
def test_kinds_are_seen_whatever_the_type(values, kind):
    frame = pd.DataFrame({"a": values})
    columns = learn(frame)
    assert columns.each[0].kind == kind
    assert np.isfinite(columns.encode(frame)).all()


def test_categories_that_read_alike_are_one():
    """As numbers, as text, as a category: a table may come as CSV one day and as Parquet the next."""
    numbers = pd.DataFrame({"a": [1, 2] * 8})
    columns = learn(numbers, {"a": "categorical"})
    for other in (numbers.astype(str), numbers.astype(float), numbers.astype("category")):
        np.testing.assert_array_equal(columns.encode(other), columns.encode(numbers))
    assert set(columns.encode(numbers).sum(axis=1)) == {1.0}


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
        (pd.to_datetime(["2024-01-01"] * 9).date, {}, "column 'a': expected categories of text, numbers"),
        ([0, 1, 1], {"b": "binary"}, "kinds: no such columns: b; there are .'a'"),
        ([0, 1, 1], {"a": "ordinal"}, "kinds: expected one of numeric, binary, categorical for a"),
        (
            [f"name {i}" for i in range(51)] * MIN_ROWS,
            {},
            f"column 'a': 51 categories, at most {MAX_CATEGORIES}",
        ),
        (
            [*map(str, range(1, 10))] * 3 + ["name 7"],
            {},
            r"no numbers in 1 of 28 rows \(first: row 28\), numbers in the others; correct them, leave blank",
        ),
        ([1e200, -1e200] * 9, {}, "column 'a': its numbers are so large that they have no deviation"),
        ([["name 7"], ["x"]] * 9, {}, "column 'a': expected categories of text, numbers or truth values"),
        ([f"name {i}" for i in range(40)], {}, "none of its 40 categories has 8 rows or more; is it a name"),
        ([f"2024-{i % 12 + 1:02}-{i:02} 737" for i in range(1, 29)], {}, "8 rows or more; it holds dates: "),
        ([f"{i}/3/2024" for i in range(1, 32)] * 2 + ["name 7"], {}, "8 rows or more; it holds dates: "),
        ([f"name {i}" for i in range(15)], {}, "8 rows or more; 15 rows are few: give more"),
        ([f"1,{i}.50" for i in range(100, 140)], {}, "with signs between thousands or of a currency"),
        ([f"¥{i}.50" for i in range(100, 140)], {}, "with signs between thousands or of a currency"),
        (
            [f"E{i // 10}.{i % 10}" for i in range(51)] * MIN_ROWS,
            {},
            "are taken; leave the column out, or join",
        ),
        ([f"P{i:05}" for i in range(40)], {}, "8 rows or more; is it a name"),
        ([*range(200_000, 200_040)], {"a": "categorical"}, "8 rows or more; is it a name"),
        (
            [*map(str, range(100, 160))] * 2 + ["name 7"] * 20,
            {},
            r"no numbers in 20 of 140 rows \(first: row 121\), numbers in the others; .* leave blank",
        ),
    ],
)
def test_what_cannot_be_used_is_named_and_no_value_shown(values, kinds, words):
    with pytest.raises(ValueError, match=words) as caught:
        learn(pd.DataFrame({"a": values}), kinds)
    assert "737" not in str(caught.value)
    assert "name 7" not in str(caught.value)


def test_codes_of_one_variable_share_a_softmax():
    code = np.arange(60) % 4
    frame = pd.DataFrame(
        {"age": np.arange(60.0), "eye": code == 1, "rare": np.arange(60) == 3, "skin": code == 2}
    )
    frame["female"] = np.arange(60) % 2
    columns = learn(frame, codes=dict.fromkeys(["eye", "rare", "skin"], "diagnosis"))
    # One that is silent is a code among the others.
    assert columns.blocks == (Block("gaussian", 1), Block("categorical", 3), Block("bernoulli", 1))
    assert learn(frame).blocks[1:] == (Block("bernoulli", 1), Block("gaussian", 1), Block("bernoulli", 2))
    assert Columns.from_dict(columns.to_dict()) == columns
    with pytest.raises(ValueError, match="codes: no such columns: nose; there are"):
        learn(frame, codes={"nose": "diagnosis"})
    with pytest.raises(ValueError, match="column 'age': expected 0 or 1 in every row of a binary column"):
        learn(frame, codes={"age": "diagnosis", "eye": "diagnosis"})
    with pytest.raises(ValueError, match="codes: expected 0/1 columns, but others are named: eye"):
        learn(frame, {"eye": "numeric"}, {"eye": "diagnosis"})
    for of in (0, None, "", np.nan):
        with pytest.raises(ValueError, match="codes: expected the name of a variable for skin"):
            learn(frame, codes={"eye": "diagnosis", "skin": of})
    with pytest.raises(
        ValueError, match=r"have to stand side by side, in the order of the inputs: diagnosis"
    ):
        learn(frame, codes={"eye": "diagnosis", "skin": "diagnosis"})
    with pytest.raises(ValueError, match="codes: expected codes by name of a column, got list"):
        learn(frame, codes=["eye"])


def test_codes_of_which_rows_have_several_are_refused():
    """Such as flags of comorbidity; a row in a hundred may be a mistake."""
    code = np.arange(1000) % 3
    frame = pd.DataFrame({"eye": code == 0, "skin": code == 1})
    codes = dict.fromkeys(frame, "diagnosis")
    frame.loc[frame.index[code == 0][:10], "skin"] = True
    assert learn(frame, codes=codes).blocks == (Block("categorical", 2),)
    frame.loc[frame.index[code == 0][:11], "skin"] = True
    with pytest.raises(ValueError, match="codes of diagnosis: 11 of 1000 rows have two or more"):
        learn(frame, codes=codes)
    assert learn(frame).blocks == (Block("bernoulli", 2),)


def test_likelihoods_are_those_of_their_kinds():
    rng = np.random.default_rng(0)
    code = rng.integers(0, 3, 100)
    flags = np.column_stack([code == 1, code == 2, rng.random(100) < 0.5])
    x = pd.DataFrame(np.column_stack([rng.normal(size=100), flags]))
    blocks = (Block("gaussian", 1), Block("categorical", 2), Block("bernoulli", 1))
    assert learn(x, *kinds_of(blocks)).blocks == blocks
    assert kinds_of(()) == ({}, {})


def test_new_rows_of_a_binary_column_are_checked():
    columns = learn(pd.DataFrame({"a": [0, 1, 1]}))
    with pytest.raises(ValueError, match="got 1 of 3 that are neither"):
        columns.encode(pd.DataFrame({"a": [737, np.nan, 1]}))


def test_likelihoods_by_kind():
    frame = pd.DataFrame(
        {
            "a": np.arange(20.0),
            "b": np.arange(20) % 2,
            "c": [*"xy"] * 10,
            "d": ["x"] * 20,
            "one": [1.0] * 20,
            "none": [None] * 20,
        }
    )
    columns = learn(frame)
    want = (
        Block("gaussian", 1),
        Block("bernoulli", 1),
        Block("categorical", 2),
        Block("gaussian", 2),  # of one category or value: they tell nothing
    )
    assert columns.blocks == want
    assert sum(block.width for block in columns.blocks) == columns.width


def test_no_category_comes_back_as_none():
    columns = learn(pd.DataFrame({"b": [*"xy"] * 10}))
    back = columns.decode(np.array([[0, 0], [0, 1], [0.2, 0.1], [0.5, 0.1]]))
    assert back["b"].isna().tolist() == [True, False, True, False]
    assert back["b"].tolist()[1::2] == ["y", "x"]


def test_of_few_known_values_no_model_keeps_the_mean():
    """As of a rare category the name: it would be that of a few persons."""
    values = np.where(np.arange(20) < MIN_ROWS - 1, 731.0 + np.arange(20), np.nan)
    few = learn(pd.DataFrame({"a": values, "b": np.arange(20)})).each[0]
    assert (few.mean, few.scale, few.silent) == (0.0, 0.0, True)
    one = learn(pd.DataFrame({"a": np.where(np.arange(20) < 1, 731.0, np.nan), "b": np.arange(20)})).each[0]
    assert (one.mean, one.scale) == (0.0, 0.0)
    values[MIN_ROWS - 1 : MIN_ROWS + 1] = 740.0, 741.0
    (enough,) = learn(pd.DataFrame({"a": values})).each
    assert enough.mean == pytest.approx(np.nanmean(values))
    assert not enough.silent


def test_where_nearly_all_have_one_value_the_mean_is_theirs():
    """Else rows times the mean is what the others have: 999 visits that cost nothing, and one."""

    def one(values):
        frame = pd.DataFrame({"a": pd.Series(values, dtype=float), "b": np.arange(len(values))})
        return learn(frame).each[0]

    cost = one([0.0] * 992 + [731.0 + i for i in range(MIN_ROWS - 1)])
    assert (cost.mean, cost.scale, cost.silent) == (0.0, 0.0, True)
    flag = one([0] * 993 + [1] * (MIN_ROWS - 1))
    assert (flag.kind, flag.mean, flag.silent) == ("binary", 0.0, True)
    assert not one([0] * 992 + [1] * MIN_ROWS).silent
    same = one([731.0] * 20)
    assert (same.mean, same.silent) == (731.0, True)
    # What only a few have is not told as the value of the rest either.
    for values in ([731.0] * 3 + [*range(7)], [0.0] * 7 + [731.0] * 7):
        found = one(values + [np.nan] * 20)
        assert (found.mean, found.silent) == (0.0, True)


def test_a_category_that_all_rows_have_tells_nothing():
    columns = learn(pd.DataFrame({"a": ["x"] * 20, "b": ["x"] * 12 + [None] * 8}))
    assert [column.silent for column in columns.each] == [True, False]
    encoded = columns.encode(pd.DataFrame({"a": ["x", "y"], "b": ["x", None]}))
    np.testing.assert_array_equal(encoded, [[0, 1], [0, 0]])
    assert columns.decode(encoded)["a"].tolist() == ["x", "x"]


def test_codes_with_leading_zeros_are_no_words_among_numbers():
    columns = learn(pd.DataFrame({"a": ["0101"] * 5 + ["1101", "1102"] * 50}))
    assert columns.each[0].categories == ("1101", "1102")


def test_a_table_without_columns_is_refused():
    with pytest.raises(ValueError, match="expected one column or more, got none"):
        learn(pd.DataFrame(index=range(9)))
    with pytest.raises(ValueError, match="no column tells rows apart: none has 8 rows or more"):
        learn(pd.DataFrame({"a": [1, 2, 3], "b": [None] * 3})).check()


def test_the_likeliest_may_be_none_of_the_categories():
    columns = Columns((Column("a", "categorical", categories=("x", "y")),))
    probabilities = np.array([[0.3, 0.2], [0.5, 0.1], [0.0, 0.0]])
    assert columns.decode(probabilities, probabilities=True)["a"].fillna("-").tolist() == ["-", "x", "-"]
    ten = Columns((Column("a", "categorical", categories=tuple("abcdefghij")),))
    noisy = np.eye(10)[0] + np.random.default_rng(0).normal(0, 0.1**0.5, (2000, 10))
    assert ten.decode(noisy)["a"].isna().mean() < 0.06
    assert ten.decode(noisy, probabilities=True)["a"].isna().mean() > 0.12
    values = pd.DataFrame({"a": ["y", None, "x"]})
    assert columns.decode(columns.encode(values))["a"].fillna("-").tolist() == ["y", "-", "x"]


def test_all_columns_that_cannot_be_used_are_named_at_once():
    good = pd.DataFrame({"a": np.arange(20.0), "b": [0, 1] * 10, "c": np.arange(20.0)})
    bad = good.assign(a=["x"] * 20, b=[0, 7] * 10)
    with pytest.raises(TableError) as caught:
        learn(good).encode(bad)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["column 'a'", "column 'b'"]
    assert "column 'a': expected numbers" in str(caught.value)
    with pytest.raises(TableError) as caught:
        learn(good.assign(a=np.inf, c=[f"name {i}" for i in range(20)]))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["column 'a'", "column 'c'"]


def test_a_category_that_reads_as_a_number_is_one_where_somebody_said_so():
    """As pandas' own type of categories does; and codes among which several words stand are codes."""
    values = [*map(str, range(100, 160))] * 8 + ["V27"] * 20
    assert (
        learn(pd.DataFrame({"a": pd.Categorical(["1", "2"] * 40 + ["V27"] * 3)})).each[0].kind
        == "categorical"
    )
    with pytest.raises(ValueError, match="no numbers in 20 of 500 rows"):
        learn(pd.DataFrame({"a": values}))
    several = [*map(str, range(100, 160)), *["250"] * 30] + ["V27", "V30", "E88"] * 8
    assert learn(pd.DataFrame({"a": several})).each[0].categories == ("250", "E88", "V27", "V30")
