"""Diagnoses: a chapter by the type of visit and by who the patient is, then a code of the chapter."""

from functools import cache

import numpy as np

from jvade.data.district import choices
from jvade.data.district.calibration import CHAPTERS, rake
from jvade.data.district.choices import CHILD, FERTILE, INFANT, OTHER
from jvade.data.district.evenly import category, pick

#: Every code, chapter by chapter in the order of `CHAPTERS`.
NAMES = tuple(code for chapter in CHAPTERS for code in choices.CODES[chapter])
STAGES = 4


def stage(age: np.ndarray, female: np.ndarray) -> np.ndarray:
    """Return the stage of life as `choices` numbers them, int (n,).

    Args:
        age: completed years, (n,).
        female: bool, (n,).
    """
    first, last = choices.FERTILE_AGES
    grown = np.where(female & (age >= first) & (age < last), FERTILE, OTHER)
    return np.where(age < choices.INFANT_BELOW, INFANT, np.where(age < choices.CHILD_BELOW, CHILD, grown))


def diagnose(
    shares: np.ndarray,
    kind: np.ndarray,
    stage: np.ndarray,
    hypertension: np.ndarray,
    diabetes: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the diagnosis of each visit as a position in `NAMES`, int16 (n,).

    Who has which diagnosis follows the odds of `choices`, yet every type's visits have the chapters' shares.

    Args:
        shares: of each chapter by type of visit, (types, chapters).
        kind: type of each visit, from 0, (n,).
        stage: stage of life of each visit's patient, (n,).
        hypertension: bool, (n,).
        diabetes: bool, (n,).
        rng: source of the draws.
    """
    flags = 2 * hypertension + diabetes
    group = flags * STAGES + stage
    groups = 4 * STAGES
    size = np.bincount(kind * groups + group, minlength=len(shares) * groups).reshape(len(shares), groups)
    joint = rake(_odds(), size / size.sum(axis=1, keepdims=True), shares)
    total = joint.sum(axis=2, keepdims=True)
    given = np.where(total > 0, joint / np.where(total > 0, total, 1), 1 / len(CHAPTERS))
    chapter = pick(given.reshape(-1, len(CHAPTERS)), kind * groups + group, rng)
    weights = _code_shares()
    found = category(weights.reshape(-1, weights.shape[2]), chapter * 4 + flags, rng.random(len(chapter)))
    return found.astype(np.int16)


@cache
def _odds() -> np.ndarray:
    """Return the odds of each chapter for each group of patients, (4 flags * 4 stages, chapters)."""
    odds = np.ones((4, STAGES, len(CHAPTERS)))
    for chapter, by_stage in choices.STAGE_ODDS.items():
        odds[:, :, CHAPTERS.index(chapter)] *= by_stage
    for chapter, factors in choices.CONDITION_ODDS.items():
        odds[:, :, CHAPTERS.index(chapter)] *= _by_flags(factors)[:, None]
    return odds.reshape(-1, len(CHAPTERS))


@cache
def _code_shares() -> np.ndarray:
    """Return the share of each code in its chapter by flags, (chapters, 4 flags, codes)."""
    shares = np.zeros((len(CHAPTERS), 4, len(NAMES)))
    for i, chapter in enumerate(CHAPTERS):
        for code, weight in choices.CODES[chapter].items():
            shares[i, :, NAMES.index(code)] = weight * _by_flags(choices.CODE_ODDS.get(code[:3], (1.0, 1.0)))
    return shares / shares.sum(axis=2, keepdims=True)


def _by_flags(factors: tuple[float, float]) -> np.ndarray:
    """Return the factor for neither condition, diabetes, hypertension and both, (4,)."""
    hypertension, diabetes = factors
    return np.array([1.0, diabetes, hypertension, hypertension * diabetes])
