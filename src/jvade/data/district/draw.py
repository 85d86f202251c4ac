"""Patients, and their visits in time, block by block.

A block is a fixed number of patients with a generator of its own, and is always drawn whole: what happens to
a patient depends on the seed, the patient's number and the visits per patient, never on how many patients
there are or which block was drawn before.

What patients are comes from a scrambled Sobol' sequence, and what their visits are from draws spread evenly
within each kind of visit: chances are as calibrated for every single one, but less is left to luck in the
sum than in independent draws, so that a small district is as good a likeness as a large one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import special
from scipy.stats import qmc

from jvade.data.district import choices, codes, places
from jvade.data.district.calibration import AGE_POINTS, Plan, plan
from jvade.data.district.evenly import category, pick
from jvade.data.district.visiting import CLASSES

#: Patients in a block; a power of two, over which a Sobol' sequence is even.
BLOCK = 2**16
#: Patients in a run, which are put in random order: next to each other a Sobol' sequence has opposites.
RUN = 64
#: Dimensions of the Sobol' sequence in use: visits and home type, then six traits. Others do about as well:
#: over 60 seeds the first eight leave the traits of the rarest home type (a few hundred patients) off by as
#: much, root mean square 1 point. But with those, seed 42 alone was past 3 points, in the zones of type 1.
EVEN = (0, 1, 2, 3, 4, 6, 7, 12)
#: More would need longer patient numbers.
MOST_PATIENTS = 9_999_999
YEAR_BEGIN, DAYS = np.datetime64("2024-01-01"), 366
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Patients:
    """Patients of a block, one value each (P,).

    Args:
        number: in the district, from 1.
        home: home type, 0 to 6.
        visits: number of visits in the year.
        willing: class of the propensity to cross, 0 to 255.
        female, hypertension, diabetes: bool.
        birth: date of birth, before the year begins.
        subdistrict: 0 to 10.
        usual: quantile of the institutions the patient usually goes to.
    """

    number: np.ndarray
    home: np.ndarray
    visits: np.ndarray
    willing: np.ndarray
    female: np.ndarray
    hypertension: np.ndarray
    diabetes: np.ndarray
    birth: np.ndarray
    subdistrict: np.ndarray
    usual: np.ndarray


@dataclass(frozen=True)
class Block:
    """Patients and their visits, in order of patient and of time, one value per visit (V,).

    Args:
        patients: the patients.
        patient: position of the patient in `patients`.
        turn: which visit of the patient it is, from 0.
        day: of the year, from 0.
        kind: planted type of the visit, 0 to 6.
        crossed: whether it is outside the home district.
        institution: row of `places.institutions`.
        code: position of the diagnosis in `codes.NAMES`.
        cost: yuan, two decimals; NaN where missing.
    """

    patients: Patients
    patient: np.ndarray
    turn: np.ndarray
    day: np.ndarray
    kind: np.ndarray
    crossed: np.ndarray
    institution: np.ndarray
    code: np.ndarray
    cost: np.ndarray

    def first(self, n_patients: int) -> "Block":
        """Return the block with its first patients only."""
        n_visits = int(self.patients.visits[:n_patients].sum())
        cut = {f.name: getattr(self, f.name)[:n_visits] for f in fields(self) if f.name != "patients"}
        people = {f.name: getattr(self.patients, f.name)[:n_patients] for f in fields(Patients)}
        return replace(self, patients=Patients(**people), **cut)


def blocks(n_visits: int, n_patients: int, seed: int) -> Iterator[Block]:
    """Draw a district, block by block.

    Args:
        n_visits: visits wanted; what is drawn differs by a fraction of a percent. Only the ratio to
            `n_patients` matters: with the same ratio, fewer patients are the first of the many.
        n_patients: patients.
        seed: from 0; the same seed gives the same district.

    Yields:
        Blocks of `BLOCK` patients, the last one as many as are left.

    Raises:
        ValueError: a number is out of range.
    """
    for name, value, least in (("n_patients", n_patients, 1), ("n_visits", n_visits, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    if n_patients > MOST_PATIENTS:
        raise ValueError(f"n_patients: expected at most {MOST_PATIENTS:,}, got {n_patients:,}")
    chosen = plan(n_visits / n_patients)
    return (
        block(chosen, seed, i).first(min(BLOCK, n_patients - begin))
        for i, begin in enumerate(range(0, n_patients, BLOCK))
    )


def block(plan: Plan, seed: int, number: int) -> Block:
    """Return a whole block.

    Args:
        plan: what to draw from.
        seed: of the district.
        number: of the block, from 0.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, number)))
    people = _patients(plan, seed, number, rng)
    patient = np.repeat(np.arange(BLOCK, dtype=np.int32), people.visits)
    turn = np.arange(len(patient)) - np.repeat(np.cumsum(people.visits) - people.visits, people.visits)

    busy = np.cumsum(np.resize(choices.WEEKDAYS, DAYS))  # 1 January 2024 was a Monday
    u = rng.random(len(patient))
    regular = np.array(choices.REGULARITY)[people.home[patient]] > 1
    u = np.where(regular, (turn + u) / people.visits[patient], u)
    day = np.searchsorted(busy, busy[-1] * u, side="right")
    day = np.sort(patient.astype(np.int64) * DAYS + day) % DAYS  # in time, patient by patient

    kind = pick(plan.types, people.home[patient], rng)
    crossed = rng.random(len(patient)) < plan.cross[kind, people.willing[patient]]
    cell = pick(plan.places.reshape(14, -1), 2 * kind + crossed, rng)
    age = completed_years(people.birth[patient], YEAR_BEGIN + day)
    return Block(
        patients=people,
        patient=patient,
        turn=turn,
        day=day.astype(np.int16),
        kind=kind.astype(np.int8),
        crossed=crossed,
        institution=_institution(people, patient, cell, rng),
        code=codes.diagnose(
            plan.chapters,
            kind,
            codes.stage(age, people.female[patient]),
            people.hypertension[patient],
            people.diabetes[patient],
            rng,
        ),
        cost=_cost(plan, kind, rng),
    )


def completed_years(birth: np.ndarray, date: np.ndarray) -> np.ndarray:
    """Return the age in completed years at a date, int (n,)."""
    years = date.astype("M8[Y]").astype(int) - birth.astype("M8[Y]").astype(int)
    return years - (_month_and_day(date) < _month_and_day(birth))


def _month_and_day(date: np.ndarray) -> np.ndarray:
    """Return a number that orders the days of a year, whatever the year."""
    month = date.astype("M8[M]")
    return (month.astype(int) % 12) * 31 + (date - month.astype("M8[D]")).astype(int)


def _patients(plan: Plan, seed: int, number: int, rng: np.random.Generator) -> Patients:
    """Return the patients of a block."""
    scramble = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    sobol = qmc.Sobol(max(EVEN) + 1, rng=scramble)
    if number:
        sobol.fast_forward(number * BLOCK)
    order = rng.permuted(np.arange(BLOCK).reshape(-1, RUN), axis=1).ravel()
    often, which, third, sex, second, live, first, willing = sobol.random(BLOCK)[order][:, EVEN].T
    further = np.searchsorted(plan.visits, often, side="right")
    home = category(plan.homes, further, which)
    # A Gaussian copula: the correlations are chosen, the share of each condition and of each age is exact.
    first, second, third = special.ndtri(np.clip([first, second, third], 1e-12, 1 - 1e-12))
    a, b, c = choices.AGE_HYPERTENSION, choices.AGE_DIABETES, choices.HYPERTENSION_DIABETES
    diabetes = c * first + np.sqrt(1 - c**2) * second
    rest = (b - a * c) / np.sqrt(1 - c**2)
    old = a * first + rest * second + np.sqrt(1 - a**2 - rest**2) * third
    place = special.ndtr(old) * (AGE_POINTS - 1)
    left = np.minimum(place.astype(np.int64), AGE_POINTS - 2)
    low, high = plan.age[home, left], plan.age[home, left + 1]
    days = (low + (place - left) * (high - low)) * DAYS_PER_YEAR
    return Patients(
        number=np.arange(number * BLOCK + 1, (number + 1) * BLOCK + 1),
        home=home,
        visits=further + 1,
        willing=(willing * CLASSES).astype(np.int64),
        female=sex < plan.female[home],
        hypertension=first > special.ndtri(1 - plan.hypertension)[home],
        diabetes=diabetes > special.ndtri(1 - plan.diabetes)[home],
        birth=YEAR_BEGIN - 1 - days.astype(np.int64),
        subdistrict=category(plan.residence, home, live),
        usual=rng.random(BLOCK),
    )


def _institution(
    people: Patients, patient: np.ndarray, cell: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the institution of each visit: often the usual one, or a centre of the own sub-district."""
    u = np.where(rng.random(len(cell)) < choices.USUAL, people.usual[patient], rng.random(len(cell)))
    near = (cell == places.CENTRES) & (rng.random(len(cell)) < choices.OWN_SUBDISTRICT)
    return np.where(near, places.centre(people.subdistrict[patient], u), places.choose(cell, u))


def _cost(plan: Plan, kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the cost of each visit, yuan with two decimals, NaN where missing."""
    noise = rng.standard_normal(len(kind))
    cost = np.exp(plan.cost[kind] + np.array(choices.COST_LOG_SD)[kind] * noise)
    cost = np.maximum(np.round(cost, 2), 0.01)
    return np.where(rng.random(len(kind)) < choices.MISSING_COST, np.nan, cost)
