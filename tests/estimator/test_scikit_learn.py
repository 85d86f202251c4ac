"""What scikit-learn asks of every estimator, of a single run and of a consensus."""

import jax
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from small import SMALL

from jvade import VaDE
from jvade.core import layout


@pytest.fixture(scope="module", autouse=True)
def quick_to_compile():
    """Nearly every check fits a table of another shape: compiling is all their time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    layout._programs.clear()


@parametrize_with_checks([VaDE(3, n_init=2, n_components=4, latent_dim=2, **SMALL)])
def test_what_scikit_learn_asks_of_a_consensus(estimator, check):
    check(estimator)


@pytest.mark.long
@parametrize_with_checks([VaDE(3, configuration="paper", **SMALL)])
def test_what_scikit_learn_asks_of_a_single_run(estimator, check):
    check(estimator)
