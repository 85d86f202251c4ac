"""What scikit-learn asks of every estimator, of a single run and of a consensus."""

import jax
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
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


#: Each fits tables of several more shapes, or asks what tests of our own do too: for `make test-all`.
SLOW = {
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_transformer_data_not_an_array",
}


def asked():
    """Every check of a consensus, the slow ones marked."""
    consensus = VaDE(3, n_init=2, n_components=4, latent_dim=2, **SMALL)
    for estimator, check in estimator_checks_generator(consensus):
        name = check.func.__name__
        yield pytest.param(estimator, check, id=name, marks=[pytest.mark.long] if name in SLOW else [])


@pytest.mark.parametrize(("estimator", "check"), [*asked()])
def test_what_scikit_learn_asks_of_a_consensus(estimator, check):
    check(estimator)


@pytest.mark.long
@parametrize_with_checks([VaDE(3, configuration="paper", **SMALL)])
def test_what_scikit_learn_asks_of_a_single_run(estimator, check):
    check(estimator)
