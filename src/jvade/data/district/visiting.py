"""How often patients come and how far they go: the equations behind two history variables of Table 7."""

from functools import cache
from typing import Any

import numpy as np
from scipy import optimize, special

from jvade.data.district.choices import GENERATION, REGULARITY, STAY, STUDY_PATIENTS, STUDY_VISITS
from jvade.data.published import type_means
from jvade.data.variables import OUTCOME

#: Classes of patients by propensity to cross, of equal size.
CLASSES = 256


def mixing(shares: np.ndarray) -> np.ndarray:
    """Return the chance of each type of a visit by home type of its patient, (7, 7).

    The same matrix is the chance of each home type by type of visit, so shares stay as they are, and the
    mean of a patient's trait over the visits of the types is this matrix times its mean over home types.

    Args:
        shares: share of visits of each type, (7,).
    """
    together = GENERATION[:, None] == GENERATION
    other = together * shares / (together * shares).sum(axis=1, keepdims=True)
    return STAY * np.eye(len(shares)) + (1 - STAY) * other


def further_visits(running: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return the mean of visits beyond the first that gives a running count.

    With N = 1 + NB(shape k, mean m), the mean over visits of the number of earlier ones is
    E[N (N - 1)] / (2 E[N]) = (2 m + m^2 (1 + 1/k)) / (2 (1 + m)): a quadratic in m.

    Args:
        running: mean number of earlier visits over the visits, (7,).
        shape: of the negative binomial, (7,).
    """
    a, b = 1 + 1 / shape, 1 - running
    return (np.sqrt(b**2 + 2 * a * running) - b) / a


def visit_counts(shares: np.ndarray, running: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the shape of the count of further visits and its mean, by home type.

    The shapes are `REGULARITY` times the one number with which the study's running counts and its visits per
    patient hold at once. For another number of visits per patient they are kept, and all running counts are
    multiplied alike.

    Args:
        shares: share of visits of each home type, (7,).
        running: mean number of earlier visits over the visits by home type in the study, (7,).
        ratio: visits per patient wanted.
    """

    def per_patient(shape: np.ndarray, factor: float) -> float:
        return 1 / np.sum(shares / (1 + further_visits(factor * running, shape)))

    study, regularity = STUDY_VISITS / STUDY_PATIENTS, np.array(REGULARITY)
    common: Any = optimize.brentq(lambda k: per_patient(k * regularity, 1.0) - study, 0.02, 20.0)
    factor: Any = optimize.brentq(lambda c: per_patient(common * regularity, c) - ratio, 1e-6, 1e3)
    return common * regularity, further_visits(factor * running, common * regularity)


# --- how far they go ---


def beta_classes(mean: np.ndarray, concentration: np.ndarray) -> np.ndarray:
    """Return the mean of a Beta distribution within each of `CLASSES` equal parts of it.

    The mean over the classes is exactly that of the distribution.

    Args:
        mean: of each distribution, (7,).
        concentration: sum of the two parameters of each, (7,).

    Returns:
        (7, CLASSES), rising along a row.
    """
    a, b = (mean * concentration)[:, None], ((1 - mean) * concentration)[:, None]
    edges = special.betaincinv(a, b, np.linspace(0, 1, CLASSES + 1))
    # x times the density of Beta(a, b) is the mean times the density of Beta(a + 1, b).
    return CLASSES * mean[:, None] * np.diff(special.betainc(a + 1, b, edges), axis=1)


def crossed_before(chance: np.ndarray, shape: np.ndarray, further: np.ndarray) -> np.ndarray:
    """Return how many of a home type's visits have an earlier one that crossed, strictly before.

    The number of earlier visits m has the chance P(N > m) / E[N], and none of them crossed with chance
    (1 - r)^m; summed over m that is (1 - G(1 - r)) / (r E[N]), G the generating function of N.

    Args:
        chance: that any one visit crosses, r, by home type and class of patient, (7, classes).
        shape: of the count of further visits by home type, (7,).
        further: its mean, (7,).

    Returns:
        Share of visits by home type, mean over the classes, (7,).
    """
    r = np.clip(chance, 1e-12, 1 - 1e-12)
    k, m = shape[:, None], further[:, None]
    none = -np.expm1(np.log1p(-r) - k * np.log1p(m * r / k)) / r
    return 1 - np.mean(none / (1 + m), axis=1)


@cache
def concentrations() -> np.ndarray:
    """Return the concentration of every type's crossing chances that gives the study's `crossed_before`."""
    percent = type_means() / 100
    shares = percent.loc["share_of_visits"].to_numpy()
    types, rate = mixing(shares), percent.loc[OUTCOME].to_numpy()
    target = np.linalg.solve(types, percent.loc["crossed_before"].to_numpy())
    running = np.linalg.solve(types, 100 * percent.loc["visits_this_year"].to_numpy())
    counts = visit_counts(shares, running, STUDY_VISITS / STUDY_PATIENTS)

    def miss(log_concentration: np.ndarray) -> np.ndarray:
        chance = types @ beta_classes(rate, np.exp(log_concentration))
        return crossed_before(chance, *counts) - target

    found = optimize.root(miss, np.zeros(len(shares)))
    if not found.success:
        raise ArithmeticError(f"no propensities give the published crossed_before: {found.message}")
    return np.exp(found.x)
