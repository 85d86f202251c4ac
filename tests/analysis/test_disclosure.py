"""The disclosure rule against an attacker of its own: what could be true, given only what is published."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, milp

from jvade.analysis.disclosure import Dimension, Rule, count, publish

SHAPE = {"cluster": 3, "zone": 2, "going": 3, "level": 3}
TABLES = (("cluster", "zone", "going"), ("cluster", "going", "level"))


def draw(seed, n_visits, shape=SHAPE):
    """Return visits whose cells are of very different sizes, and their patients."""
    rng = np.random.default_rng(seed)
    columns = {
        name: rng.choice(size, n_visits, p=rng.dirichlet(np.full(size, 0.6))) for name, size in shape.items()
    }
    return pd.DataFrame(columns), rng.integers(0, max(n_visits // 3, 1), n_visits)


def published(frame, patients, rule, tables=TABLES):
    dimensions = {
        name: Dimension(frame[name].to_numpy(), [str(i) for i in range(SHAPE[name])]) for name in frame
    }
    return publish(count(dimensions, tables, patients), rule)


def cells_of(table):
    """Return every cell of a table with its margins, as dictionaries."""
    choices = [[None, *map(str, range(SHAPE[name]))] for name in table]
    return [
        {name: value for name, value in zip(table, one, strict=True) if value is not None}
        for one in product(*choices)
    ]


def spans(open_, rule):
    """Return, for each cell left out, how many visits lie between the least and the most it could have.

    Whole numbers, and from nothing but what is published: the counts that are shown, how they were rounded,
    and that the cells of a table add up.
    """
    cells = {frozenset(cell.items()): cell for table in TABLES for cell in cells_of(table)}
    place = {key: i for i, key in enumerate(cells)}
    low, high = np.zeros(len(cells)), np.zeros(len(cells))
    out = []
    for key, cell in cells.items():
        shown, i = open_.visits(**cell), place[key]
        if np.isnan(shown):
            low[i], high[i] = 1, 10_000
            out.append(i)
        elif shown:
            # By trial: every number that would have been published so.
            could = [n for n in range(1, int(shown) + rule.rounding + 1) if rule.rounded(n) == shown]
            low[i], high[i] = max(could[0], rule.min_patients), could[-1]
    lines = []
    for table in TABLES:
        for cell in cells_of(table):
            for extra in set(table) - cell.keys():
                line = np.zeros(len(cells))
                line[place[frozenset(cell.items())]] = -1
                for value in range(SHAPE[extra]):
                    line[place[frozenset((cell | {extra: str(value)}).items())]] += 1
                lines.append(line)
    sums = LinearConstraint(np.array(lines), 0, 0)
    found = []
    for i in out:
        ends = []
        for sign in (1, -1):
            target = np.zeros(len(cells))
            target[i] = sign
            answer = milp(target, constraints=sums, bounds=(low, high), integrality=np.ones(len(cells)))
            assert answer.x is not None
            ends.append(round(answer.x[i]))
        found.append(ends[1] - ends[0])
    return np.array(found)


THRESHOLDS = [
    pytest.param(n, 5 if n % 2 else 1, marks=[] if n in (2, 3, 5, 8) else pytest.mark.long)
    for n in range(2, 21)
]


@pytest.mark.parametrize(("min_patients", "rounding"), THRESHOLDS)
def test_no_cell_left_out_can_be_told(min_patients, rounding):
    rule, told = Rule(min_patients, rounding), 0
    for seed, n_visits in enumerate((60, 250, 1500)):
        open_ = published(*draw(seed, n_visits), rule)
        found = spans(open_, rule)
        told += len(found)
        assert (found >= min_patients - 1).all()
    assert told  # or there was nothing to tell


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.integers(5, 400), st.integers(1, 20), st.sampled_from([1, 3, 5, 10]))
def test_what_is_shown_has_enough_patients_and_is_rounded(seed, n_visits, min_patients, rounding):
    frame, patients = draw(seed, n_visits)
    rule = Rule(min_patients, rounding)
    open_ = published(frame, patients, rule)
    for table in TABLES:
        for cell in cells_of(table):
            inside = np.ones(n_visits, bool)
            for name, value in cell.items():
                inside &= frame[name].to_numpy() == int(value)
            people, shown = len(np.unique(patients[inside])), open_.visits(**cell)
            assert (shown == 0) == (not inside.any())
            if 0 < people < min_patients:
                assert np.isnan(shown)
                assert np.isnan(open_.patients(**cell))
            if shown > 0:
                assert shown % rounding == 0
                assert abs(shown - inside.sum()) <= rounding / 2 or shown == rounding
    if min_patients == 1:
        assert not open_.hidden.any()


@pytest.mark.parametrize("visits", [40, 300])
def test_many_visits_of_few_patients_are_not_told_nearly(visits):
    """Three patients made them: somebody who comes within a tenth knows them well enough."""
    frame = pd.DataFrame({"cluster": [0] * (visits + 200) + [1] * 2000 + [2] * 2000})
    frame["zone"] = [0] * visits + [1] * 200 + [0, 1] * 2000
    frame["going"] = frame["level"] = 0
    patients = np.append(np.arange(visits) % 3, 3 + np.arange(len(frame) - visits))
    open_ = published(frame, patients, Rule(8, 5))
    place = open_.counts.cells.index(frozenset({("cluster", "0"), ("zone", "0"), ("going", "0")}))
    assert open_.hidden[place]
    left_out = [
        cell for table in TABLES for cell in cells_of(table) if np.isnan(open_.visits(**cell))
    ]  # as `spans` goes through them, each once
    keys = list(dict.fromkeys(frozenset(cell.items()) for cell in left_out))
    span = spans(open_, Rule(8, 5))[keys.index(open_.counts.cells[place])]
    assert span >= max(7, visits / 10)


def test_a_single_small_cell_takes_another_with_it():
    # 3 patients in one cell of a row that is shown with its total: the others would give it away.
    frame = pd.DataFrame({"cluster": [0] * 103 + [1] * 100 + [2] * 90})
    frame["zone"] = [0] * 3 + [1] * 290
    frame["going"] = frame["level"] = 0
    open_ = published(frame, None, Rule(8, 1))
    assert np.isnan(open_.visits(cluster="0", zone="0"))
    assert np.isnan(open_.visits(cluster="0", zone="1"))
    assert open_.visits(cluster="1", zone="1") == 100


def test_shares_are_of_published_counts():
    frame, patients = draw(3, 1500)
    open_ = published(frame, patients, Rule())
    part, whole = open_.visits(cluster="0", zone="1"), open_.visits(cluster="0")
    assert open_.share({"cluster": "0"}, zone="1") == pytest.approx(100 * part / whole, nan_ok=True)


def test_the_same_visits_in_another_order_are_protected_the_same():
    frame, patients = draw(5, 400)
    order = np.random.default_rng(0).permutation(len(frame))
    one, two = published(frame, patients, Rule()), published(frame.iloc[order], patients[order], Rule())
    assert one.counts.cells == two.counts.cells
    assert (one.hidden == two.hidden).all()


@pytest.mark.parametrize("wrong", [(0, 5), (8, 0), (-1, -1)])
def test_a_rule_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        Rule(*wrong)
