"""Three groups that lie far apart, and a configuration small enough to find them in seconds."""

import numpy as np
import pytest

from jvade import clustering
from jvade.clustering import Configuration
from jvade.core.fit import MixtureStart
from jvade.core.settings import Hyperparameters, Training


@pytest.fixture(scope="session")
def small():
    """Three runs with four clusters each."""
    return Configuration(
        Hyperparameters(n_clusters=4),
        Training(batch_size=64, max_epochs=40, input_dropout=0.3),
        MixtureStart(n_rows=300, n_init=4, n_continued=2, short_iter=5, max_iter=30),
        (16,),
        n_runs=3,
    )


@pytest.fixture(scope="session")
def groups():
    """Three groups of rows in six columns, and the group of each."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 600, p=[0.5, 0.3, 0.2])
    centers = 3 * np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1.0]])
    x = centers[truth] + 0.3 * rng.normal(size=(600, 6))
    return (x - x.mean(axis=0)) / x.std(axis=0), truth


@pytest.fixture(scope="session")
def crossed():
    """Rows in two groups that cross: as wide, about one center, one along the first diagonal, one across."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 800)
    along, across = 2.0 * rng.normal(size=800), 0.1 * rng.normal(size=800)
    turned = np.where(truth == 0, -across, across)
    z = np.stack([along + turned, np.where(truth == 0, 1, -1) * along + across], axis=1)
    x = z @ np.array([[1, 0, 0.6, 0.8], [0, 1, 0.8, -0.6]])
    return x / x.std(axis=0), truth


@pytest.fixture(scope="session")
def found(groups, small):
    """The three groups clustered."""
    return clustering.cluster(groups[0], 3, 0, small)
