"""A table of every kind of column with three groups of rows, and estimators fitted to it."""

import numpy as np
import pandas as pd
import pytest
from small import SMALL

from jvade import VaDE


@pytest.fixture(scope="session")
def table():
    """Ages, costs with gaps, a 0/1 column, a truth value, a category; and the group of each row."""
    rng = np.random.default_rng(0)
    group = rng.choice(3, 600, p=[0.5, 0.3, 0.2])
    cost = rng.normal(np.array([100, 300, 800])[group], 20)
    frame = pd.DataFrame(
        {
            "age": rng.normal(np.array([20, 50, 80])[group], 3).round(),
            "cost": np.where(rng.random(600) < 0.05, np.nan, cost),
            "female": rng.integers(0, 2, 600),
            "insured": group == 1,
            "level": np.array(["community", "secondary", "tertiary"])[group],
        }
    )
    return frame, group


@pytest.fixture(scope="session")
def consensus(table):
    return VaDE(3, n_init=3, n_components=4, latent_dim=2, random_state=0, **SMALL).fit(table[0])


@pytest.fixture(scope="session")
def single(table):
    return VaDE(3, configuration="paper", random_state=0, **SMALL).fit(table[0])


@pytest.fixture(scope="session")
def single_full(table):
    return VaDE(3, configuration="paper", covariance_type="full", random_state=0, **SMALL).fit(table[0])


@pytest.fixture(params=["consensus", "single"])
def fitted(request):
    return request.getfixturevalue(request.param)
