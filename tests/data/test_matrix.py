import json

import numpy as np
import pandas as pd
import pytest

from jvade.data.matrix import Scaling, fit_scaling, from_matrix, to_matrix
from jvade.data.variables import Variable

INPUTS = (
    Variable("age", "Age", "personal", "numeric", "years"),
    Variable("female", "Female", "personal", "binary"),
    Variable("gap", "Gap", "visit", "numeric", "days"),
    Variable("same", "Same", "visit", "numeric"),
    Variable("never", "Never", "visit", "binary"),
)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "gap": np.array([np.nan, 10, 30, np.nan], np.float32),
            "female": np.array([0, 1, 1, 0], np.uint8),
            "age": np.array([10, 20, 30, 60], np.float32),
            "same": np.full(4, 0.1, np.float32),
            "never": np.zeros(4, np.uint8),
            "other": ["a", "b", "c", "d"],
        }
    )


def test_known_values(frame):
    scaling = fit_scaling(frame, INPUTS)
    matrix = to_matrix(frame, scaling)
    assert matrix.dtype == np.float32
    assert matrix.shape == (4, 5)
    sd = np.sqrt(350)  # of 10, 20, 30, 60, ddof 0
    np.testing.assert_allclose(matrix[:, 0], np.array([-20, -10, 0, 30]) / sd, rtol=1e-6)
    assert matrix[:, 1].tolist() == [0, 1, 1, 0]
    assert matrix[:, 2].tolist() == [0, -1, 1, 0]  # a missing gap is the mean of the known ones
    assert (matrix[:, 3] == 0).all()
    assert scaling.constant == ("same", "never")
    assert scaling.scales[3] == 1
    assert scaling.numeric.tolist() == [True, False, True, True, False]


def test_round_trip_and_json(frame):
    scaling = fit_scaling(frame, INPUTS)
    again = Scaling.from_dict(json.loads(json.dumps(scaling.to_dict())))
    assert again == scaling
    back = from_matrix(to_matrix(frame, again), again)
    assert list(back) == [variable.name for variable in INPUTS]
    expected = frame[list(back)].fillna({"gap": 20})
    np.testing.assert_allclose(back, expected, rtol=1e-6)


def test_sums_in_double_precision():
    values = np.full(3_000_000, 40_000_000, np.float32)
    values[0] = 40_000_004
    scaling = fit_scaling(pd.DataFrame({"age": values}), INPUTS[:1])
    assert scaling.means[0] == pytest.approx(40_000_000 + 4 / 3e6, rel=1e-15)


def test_numbers_all_missing_are_constant():
    frame = pd.DataFrame({"age": np.full(3, np.nan, np.float32)})
    scaling = fit_scaling(frame, INPUTS[:1])
    assert scaling.constant == ("age",)
    assert to_matrix(frame, scaling).tolist() == [[0], [0], [0]]


def test_what_cannot_be_scaled(frame):
    with pytest.raises(ValueError, match="inputs without a column: gap; the columns are"):
        fit_scaling(frame.drop(columns="gap"), INPUTS)
    with pytest.raises(ValueError, match="'age': 1 values are infinite"):
        fit_scaling(frame.assign(age=[1, 2, 3, np.inf]), INPUTS)
    with pytest.raises(ValueError, match="'female': a binary input must be 0 or 1"):
        fit_scaling(frame.assign(female=[0, 1, 2, 1]), INPUTS)
    with pytest.raises(ValueError, match=r"expected a matrix of 5 columns, got shape \(4, 2\)"):
        from_matrix(np.zeros((4, 2)), fit_scaling(frame, INPUTS))
