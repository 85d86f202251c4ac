"""From the means of Table 7 to the numbers a district is drawn with.

Table 7 describes visits. Patients come first here, so its means are taken apart:

- A patient has a home type; a visit is of that type, or with a little chance of another one of the same
  generation. What belongs to the patient (age, sex, conditions, residence, how often and how far they go)
  therefore leaks between types, and the home types' means are those that leak into Table 7's (`mixing`).
- Visits per patient are 1 plus a negative binomial: a patient comes once, and again at a rate of their own.
- Whether a visit crosses depends on its type and on the patient's propensity, a quantile: a visit of type t
  crosses with the chance that a Beta distribution of mean `cross_district` has at that quantile. How uneven
  the chances are decides how often an earlier visit crossed, and is solved for that.

Every equation is solved here, once, from the published numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import special, stats

from jvade.data.district import choices
from jvade.data.district.choices import (
    AGE_LIMIT,
    AGE_SD,
    DESTINATIONS,
    INSTITUTIONS,
    KINDS,
    SUBDISTRICTS,
    ZONES,
)
from jvade.data.district.visiting import beta_classes, concentrations, mixing, visit_counts
from jvade.data.published import type_means
from jvade.data.variables import DIAGNOSES, LEVELS, OUTCOME

#: Most visits of one patient in a year; far beyond what is ever drawn.
MOST_VISITS = 9_999
#: Points of the quantile function of age.
AGE_POINTS = 2049
#: Visits per patient that can be asked for.
RATIOS = (1.01, 50.0)
CHAPTERS = (*(variable.name for variable in DIAGNOSES), "no flag")


@dataclass(frozen=True)
class Plan:
    """What blocks are drawn from; H, T stand for the seven home types and types of visit.

    Args:
        visits: cumulative share of the patients with 1, 2, ... visits, (most visits,).
        homes: share of each home type among the patients with as many visits, (most visits, H).
        types: chance of each type of a visit by home type, (H, T).
        female, hypertension, diabetes: chance by home type, (H,).
        age: quantile function of age on 1 January at equal steps, years, (H, AGE_POINTS).
        residence: share of each sub-district, (H, 11).
        cross: chance that a visit crosses by its type and the patient's class, (T, CLASSES).
        places: share of each place and kind of institution by type, at home and away, (T, 2, 4 * 7).
        cost: mean of the natural logarithm of cost, (T,).
        chapters: share of each diagnosis chapter by type, (T, chapters).
    """

    visits: np.ndarray
    homes: np.ndarray
    types: np.ndarray
    female: np.ndarray
    hypertension: np.ndarray
    diabetes: np.ndarray
    age: np.ndarray
    residence: np.ndarray
    cross: np.ndarray
    places: np.ndarray
    cost: np.ndarray
    chapters: np.ndarray


@cache
def plan(visits_per_patient: float) -> Plan:
    """Return the plan of a district with this many visits per patient.

    Everything but the number of visits is as in the study; with more visits per patient than there, more of
    them have a crossing before them.

    Args:
        visits_per_patient: mean, within `RATIOS`.

    Raises:
        ValueError: outside of `RATIOS`.
    """
    low, high = RATIOS
    if not low <= visits_per_patient <= high:
        raise ValueError(f"visits per patient: expected {low} to {high}, got {visits_per_patient:.6g}")
    means = type_means()
    percent = means / 100
    shares = percent.loc["share_of_visits"].to_numpy()
    types = mixing(shares)

    def homes(name: str) -> np.ndarray:
        return np.linalg.solve(types, percent.loc[name].to_numpy())

    shape, further = visit_counts(shares, 100 * homes("visits_this_year"), visits_per_patient)
    chance = shape / (shape + further)
    most = int(min(MOST_VISITS, 1 + stats.nbinom.isf(1e-12, shape, chance).max()))
    # Share of the patients by number of visits (rows) and home type (columns).
    patients = stats.nbinom.pmf(np.arange(most)[:, None], shape, chance) * shares / (1 + further)
    visits = np.cumsum(patients.sum(axis=1))
    return Plan(
        visits=visits / visits[-1],
        homes=patients / patients.sum(axis=1, keepdims=True),
        types=types,
        female=homes("female"),
        hypertension=homes("hypertension"),
        diabetes=homes("diabetes"),
        age=age_quantiles(100 * homes("age")),
        residence=residence(np.array([homes(zone) for zone in ZONES])),
        cross=beta_classes(percent.loc[OUTCOME].to_numpy(), concentrations()),
        places=places(percent),
        cost=np.log(means.loc["cost"].to_numpy()) - np.square(choices.COST_LOG_SD) / 2,
        chapters=chapters(percent),
    )


def age_quantiles(mean: np.ndarray) -> np.ndarray:
    """Return the quantile function of age on 1 January at equal steps, years, (7, AGE_POINTS).

    The mean age on 1 January is that of completed years at the visits: on average half a year has passed,
    and half a year is not completed.

    Args:
        mean: completed years by home type, (7,).
    """
    m, sd = mean / AGE_LIMIT, np.array(AGE_SD) / AGE_LIMIT
    total = m * (1 - m) / sd**2 - 1
    a, b = (m * total)[:, None], ((1 - m) * total)[:, None]
    return AGE_LIMIT * special.betaincinv(a, b, np.linspace(0, 1, AGE_POINTS))


def residence(zones: np.ndarray) -> np.ndarray:
    """Return the share of each sub-district by home type, (7, 11).

    Args:
        zones: share of each zone by home type, (3, 7); rounded figures need not sum to one.
    """
    weights = [share * zones[ZONES.index(zone)] for zone, share in SUBDISTRICTS.values()]
    return np.transpose(weights / np.sum(weights, axis=0))


def rake(odds: np.ndarray, rows: np.ndarray, columns: np.ndarray, rounds: int = 200) -> np.ndarray:
    """Return the table with these sums along its last two axes that keeps the odds (Deming and Stephan 1940).

    Args:
        odds: what goes with what, at least 0, (..., R, C).
        rows: sums of the rows, (..., R); held to the last digit.
        columns: sums of the columns, (..., C); held as far as zero odds allow.
        rounds: iterations.
    """
    table = odds * (rows[..., :, None] * columns[..., None, :])
    for _ in range(rounds):
        for sums, axis in ((columns[..., None, :], -2), (rows[..., :, None], -1)):
            now = table.sum(axis=axis, keepdims=True)
            table = table * np.divide(sums, now, out=np.zeros_like(now), where=now > 0)
    return table


def places(percent: pd.DataFrame) -> np.ndarray:
    """Return the share of each place and kind of institution by type, (7, 2 for home or away, 4 * 7).

    Levels, specialty hospitals, cross rate and destinations of Table 7 hold at once; a specialty hospital is
    as likely on every level but the community's, which has none.
    """

    def rows(names: Iterable[str]) -> np.ndarray:
        table = percent.loc[list(names)].to_numpy()
        return table / table.sum(axis=0)  # rounded figures need not sum to one

    crossed, specialty = percent.loc[OUTCOME].to_numpy(), percent.loc["specialty"].to_numpy()
    place = np.vstack([1 - crossed, crossed * rows(DESTINATIONS)])
    names = [variable.name for variable in LEVELS]
    level = dict(zip(names, rows(names), strict=True))
    special_share = specialty / (1 - level["community"])
    chance = {"community": (np.ones(7), np.zeros(7))}
    kind = np.array([level[n] * chance.get(n, (1 - special_share, special_share))[s] for n, s in KINDS])
    table = rake(INSTITUTIONS.astype(float), place.T, kind.T)
    split = np.stack([table, table], axis=1)
    split[:, 0, 1:], split[:, 1, 0] = 0, 0
    return (split / split.sum(axis=(2, 3), keepdims=True)).reshape(len(table), 2, -1)


def chapters(percent: pd.DataFrame) -> np.ndarray:
    """Return the share of each diagnosis chapter by type, (7, chapters); the last has no flag."""
    flags = [
        percent.loc[name].to_numpy() if name in percent.index else np.array(choices.UNPUBLISHED[name]) / 100
        for name in CHAPTERS[:-1]
    ]
    return np.vstack([flags, 1 - np.sum(flags, axis=0)]).T
