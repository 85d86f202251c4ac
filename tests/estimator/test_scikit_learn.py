"""What scikit-learn asks of every estimator, of a single run and of a consensus."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from jvade import VaDE

#: Small networks, for dozens of fits to a few rows.
SMALL = {"widths": (8,), "learning_rate": 0.01, "max_epochs": 60, "patience": 60}


@parametrize_with_checks(
    [VaDE(3, configuration="paper", **SMALL), VaDE(3, n_init=2, n_components=4, latent_dim=2, **SMALL)]
)
def test_what_scikit_learn_asks(estimator, check):
    check(estimator)
