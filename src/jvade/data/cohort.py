"""The simulated district, first version: visits drawn at random with the means of Table 7.

The records of the study are private, but Table 7 gives the mean of nearly every variable in each of its seven
types. Here every visit gets a type by the published shares, then each variable by the mean of its type and
independently of the others. So the rows have the published means, and no more of the truth than that:

- There are no patients. The history inputs (crossed_before, visits_this_year, days_since_last_visit) are
  painted on, not lived through. crossed_before is read strictly: it is never set on a first visit.
- Table 7 leaves out days_since_last_visit and the chapters P and Q: those are our choice (`GAP_YEAR`,
  `UNPUBLISHED`), as is every spread within a type (`AGE_SD`, `COST_LOG_SD`, `VISITS_SHAPE`).
- How the eleven sub-districts lie in the three zones is our choice (`ZONES`); within a zone they are equal.
- The destination rows of Table 7 make the extra column `destination`, which is no input.
"""

import numpy as np
import pandas as pd

from jvade.data.published import type_means
from jvade.data.variables import DIAGNOSES, LEVELS, OUTCOME, STUDY_INPUTS, Account, VisitTable

MISSING_COST = 0.018  # share of visits without a cost (section 2.1)
AGE_SD = (12.0, 15.0, 17.0, 12.0, 10.0, 14.0, 12.0)  # years, by type
AGE_RANGE = (0.0, 105.0)  # years
COST_LOG_SD = 0.8  # of the natural log of yuan, in every type
# Shape of the negative binomial count of earlier visits. With 0.75 a count of 0, the first visit of the year,
# is as frequent as in the study: 570 thousand patients in 3.65 million visits, 15.6 %.
VISITS_SHAPE = 0.75
GAP_YEAR = 180.0  # days: the mean gap after v earlier visits is this over v + 1, half a year shared out
UNPUBLISHED = {"perinatal": 0.1, "congenital": 0.2}  # percent of visits, in every type
ZONES = {
    "inner": 4,
    "middle": 5,
    "outer": 2,
}  # sub-districts in each; the eleventh, an outer one, is left out
DESTINATIONS = ("city_centre", "adjacent_suburb", "non_adjacent_suburb")
EXTRAS = ("planted_type", "zone", "destination")


def simulate(n_visits: int, seed: int) -> VisitTable:
    """Draw a cohort.

    Args:
        n_visits: visits to draw; about 1.8 % of them have no cost and are dropped, as in the study.
        seed: the same seed and number give the same cohort.

    Returns:
        The visits, with all inputs of the study and the extras `planted_type` (1 to 7, what each was drawn
        from), `zone` of residence and `destination` ("home" where the visit does not cross).

    Raises:
        ValueError: `n_visits` is below 1.
    """
    if n_visits < 1:
        raise ValueError(f"n_visits: expected at least 1, got {n_visits}")
    rng = np.random.default_rng(seed)
    means = type_means()
    priced = np.flatnonzero(rng.random(n_visits, dtype=np.float32) >= MISSING_COST)
    shares = means.loc["share_of_visits"].to_numpy()
    kind = _category(rng, np.zeros(len(priced), np.int8), shares[:, None])
    frame = pd.DataFrame(_columns(rng, kind, means), copy=False)
    frame["row"] = priced + 1
    account = Account(n_visits, 0, n_visits - len(priced), len(priced))
    for name, found in (
        ("share of visits that cross", frame[OUTCOME].to_numpy()),
        ("share of first visits", frame["visits_this_year"].to_numpy() == 0),
    ):
        account.notes[name] = np.count_nonzero(found) / max(len(found), 1)
    return VisitTable(frame, STUDY_INPUTS, EXTRAS, account)


def _columns(
    rng: np.random.Generator, kind: np.ndarray, means: pd.DataFrame
) -> dict[str, np.ndarray | pd.Series]:
    """Return every column but the row number; `kind` is the type of each visit, from 0."""

    def mean(name: str) -> np.ndarray:
        return means.loc[name].to_numpy()

    def flag(percent: np.ndarray) -> np.ndarray:
        return rng.random(len(kind), dtype=np.float32) < (percent / 100).astype(np.float32)[kind]

    columns: dict[str, np.ndarray | pd.Series] = {OUTCOME: flag(mean(OUTCOME))}
    for name in ("female", "hypertension", "diabetes"):
        columns[name] = flag(mean(name))
    noise = rng.standard_normal(len(kind), dtype=np.float32)
    columns["age"] = np.clip(_by(kind, mean("age")) + _by(kind, AGE_SD) * noise, *AGE_RANGE)
    # The mean of a log-normal is exp(log mean + sd^2 / 2).
    centre = np.log(mean("cost")) - COST_LOG_SD**2 / 2
    noise = rng.standard_normal(len(kind), dtype=np.float32)
    columns["cost"] = np.exp(_by(kind, centre) + np.float32(COST_LOG_SD) * noise)

    p_zero = VISITS_SHAPE / (VISITS_SHAPE + mean("visits_this_year"))
    visits = rng.poisson(rng.standard_gamma(VISITS_SHAPE, len(kind)) * _by(kind, 1 / p_zero - 1))
    first = visits == 0
    columns["visits_this_year"] = visits.astype(np.float32)
    gap = rng.standard_exponential(len(kind), dtype=np.float32) * GAP_YEAR / (visits + 1)
    gap = np.minimum(gap.round(), 365)
    columns["days_since_last_visit"] = np.where(first, np.nan, gap).astype(np.float32)
    # Over later visits alone, so that the mean over all visits is the published one.
    columns["crossed_before"] = flag(mean("crossed_before") / (1 - p_zero**VISITS_SHAPE)) & ~first

    names = [variable.name for variable in LEVELS]
    level = _category(rng, kind, means.loc[names].to_numpy())
    columns |= {name: level == i for i, name in enumerate(names)}
    # A specialty hospital has a level too, but is no community centre.
    others = 1 - mean("community") / means.loc[names].sum().to_numpy()
    columns["specialty"] = flag(mean("specialty") / others) & ~columns["community"]

    names = [variable.name for variable in DIAGNOSES]
    percent = np.array([mean(n) if n in means.index else np.full(7, UNPUBLISHED[n]) for n in names])
    diagnosis = _category(rng, kind, np.vstack([percent, 100 - percent.sum(axis=0)]))
    columns |= {name: diagnosis == i for i, name in enumerate(names)}

    zone = _category(rng, kind, means.loc[list(ZONES)].to_numpy())
    sizes = np.array(list(ZONES.values()))
    starts = np.cumsum(sizes) - sizes
    subdistrict = starts[zone] + (rng.random(len(kind)) * sizes[zone]).astype(np.int64)
    columns |= {f"subdistrict_{i + 1:02d}": subdistrict == i for i in range(10)}
    for name, values in columns.items():
        if name != OUTCOME and values.dtype == bool:
            columns[name] = values.astype(np.uint8)

    away = _category(rng, kind, means.loc[list(DESTINATIONS)].to_numpy())
    destination = np.where(columns[OUTCOME], away + 1, 0)
    columns["planted_type"] = kind + np.int8(1)
    columns["zone"] = pd.Series(pd.Categorical.from_codes(zone, list(ZONES)))
    columns["destination"] = pd.Series(pd.Categorical.from_codes(destination, ["home", *DESTINATIONS]))
    return columns


def _by(kind: np.ndarray, values: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Return the value of each visit's type, float32 (N,)."""
    return np.asarray(values, dtype=np.float32)[kind]


def _category(rng: np.random.Generator, kind: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Draw one category per visit.

    Args:
        rng: source of the draws.
        kind: type of each visit, from 0, (N,).
        weights: weight of each category (rows) in each type (columns), (C, types); need not sum to one.

    Returns:
        Categories from 0, int8 (N,).
    """
    cumulative = np.cumsum(weights, axis=0) / weights.sum(axis=0)
    # Type t owns the interval from t to t + 1, cut at its cumulative shares: one search serves all types.
    edges = (cumulative + np.arange(weights.shape[1])).T.ravel()
    edges[weights.shape[0] - 1 :: weights.shape[0]] = np.arange(1, weights.shape[1] + 1)
    place = np.searchsorted(edges, kind + rng.random(len(kind)), side="right")
    return (place - kind.astype(np.int64) * weights.shape[0]).astype(np.int8)
