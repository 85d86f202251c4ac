"""Which counts may be published, so that nobody is told apart: not by a cell, and not by any sum of cells.

A family of tables is counted together (`count`): every cell, every margin, and which cells add up to which.
`protect` then says what must be left out: cells with few patients behind them, and as many more as it takes
that no sum gives the first away. What is left is rounded (`Protected`); shares are taken of rounded counts,
so that they tell no more than the counts do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from scipy.optimize import linprog
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

#: A cell: the value of each dimension that it is not a sum over; () is everything.
Cell = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Rule:
    """What may be published.

    Args:
        min_patients: a number with fewer patients behind it, but some, is left out; 1 leaves nothing out.
        rounding: counts are rounded to a multiple of it; 1 leaves them as they are.
    """

    min_patients: int = 8
    rounding: int = 5

    def __post_init__(self) -> None:
        if self.min_patients < 1 or self.rounding < 1:
            raise ValueError(
                "expected min_patients and rounding of at least 1,"
                f" got {self.min_patients} and {self.rounding}"
            )

    def rounded(self, count: float) -> int:
        """Return a count as it is published; what is not 0 stays so."""
        nearest = self.rounding * int(count / self.rounding + 0.5)
        return max(nearest, self.rounding) if count else 0


class Dimension(NamedTuple):
    """What tables are counted over.

    Args:
        codes: value of each visit, as a place in `values`.
        values: their names.
    """

    codes: Int[np.ndarray, " N"]
    values: Sequence[str]


class Counts(NamedTuple):
    """The cells of a family of tables.

    Args:
        cells: all that have visits; a cell that is not here is empty.
        visits: of each.
        patients: behind each.
        sums: a cell, and the cells that add up to it, as places in `cells`.
    """

    cells: list[Cell]
    visits: Int[np.ndarray, " C"]
    patients: Int[np.ndarray, " C"]
    sums: list[tuple[int, tuple[int, ...]]]


def count(
    dimensions: Mapping[str, Dimension],
    tables: Sequence[Sequence[str]],
    patients: Int[np.ndarray, " N"] | None,
) -> Counts:
    """Count a family of tables with all of their margins.

    Args:
        dimensions: by name.
        tables: the dimensions of each table. Tables that share dimensions share those margins, and where one
            dimension follows from another (a zone from a sub-district) a table of both says so: its other
            cells are empty.
        patients: patient of each visit; None counts each visit as one.
    """
    n_visits = len(next(iter(dimensions.values())).codes)
    people = np.arange(n_visits) if patients is None else patients.astype(np.int64)
    margins = {
        frozenset(part) for one in tables for n in range(len(one) + 1) for part in combinations(one, n)
    }
    found: dict[Cell, tuple[int, int]] = {}
    for margin in sorted(margins, key=lambda margin: (len(margin), sorted(margin))):
        found |= _count(dimensions, sorted(margin), people)
    places = {cell: place for place, cell in enumerate(found)}
    sums: set[tuple[int, tuple[int, ...]]] = set()
    for margin in margins:
        for extra in {name for table in tables if margin <= {*table} for name in {*table} - margin}:
            for cell in _product(dimensions, sorted(margin)):
                if cell not in places:
                    continue
                parts = (cell | {(extra, value)} for value in dimensions[extra].values)
                sums.add((places[cell], tuple(places[part] for part in parts if part in places)))
    visits, behind = (np.array(column) for column in zip(*found.values(), strict=True))
    return Counts([*found], visits, behind, sorted(sums))


def _count(
    dimensions: Mapping[str, Dimension], names: Sequence[str], people: Int[np.ndarray, " N"]
) -> dict[Cell, tuple[int, int]]:
    """Return visits and patients of each cell of one margin that has visits."""
    shape = [len(dimensions[name].values) for name in names]
    size = int(np.prod(shape, initial=1))
    codes = np.zeros(len(people), np.int64)
    for name, length in zip(names, shape, strict=True):
        codes = codes * length + dimensions[name].codes
    visits = np.bincount(codes, minlength=size)
    # Sorting beats hashing here by far: it is vectorised.
    pairs = np.sort(people * size + codes)
    first = np.append(True, pairs[1:] != pairs[:-1])
    behind = np.bincount(pairs[first] % size, minlength=size)
    cells = _product(dimensions, names)
    return {cell: (int(n), int(p)) for cell, n, p in zip(cells, visits, behind, strict=True) if n}


def _product(dimensions: Mapping[str, Dimension], names: Sequence[str]) -> list[Cell]:
    values = (dimensions[name].values for name in names)
    return [frozenset(zip(names, one, strict=True)) for one in product(*values)]


def protect(counts: Counts, rule: Rule) -> Bool[np.ndarray, " C"]:
    """Return the cells that must be left out.

    First those with some patients, but fewer than the rule asks. Then, until nothing changes: where a sum has
    a cell left out, another must be, and together they must have enough patients; and whoever knows all that
    is published, even unrounded, must be unable to tell the visits of a cell that is left out more closely
    than within a span of `min_patients` numbers, by any combination of sums (a linear program for each).

    Args:
        counts: the cells and their sums.
        rule: what may be published.
    """
    hidden = counts.patients < rule.min_patients
    while True:
        _complete(counts, rule, hidden)
        told = _told(counts, rule, hidden)
        if not told:
            return hidden
        changed = [_hide_beside(counts, hidden, cell) for cell in told]
        if not any(changed):
            return hidden  # all around them is left out already: nothing is known that could tell


def _complete(counts: Counts, rule: Rule, hidden: Bool[np.ndarray, " C"]) -> None:
    """Leave out more cells, in place, until no single sum gives one away."""
    waiting = True
    while waiting:
        waiting = False
        for total, parts in counts.sums:
            out = [part for part in parts if hidden[part]]
            if not out and not hidden[total]:
                continue
            if hidden[total]:
                safe = bool(out)
            else:
                # All parts together are the total, and that has enough.
                enough = len(out) == len(parts) or counts.patients[out].max() >= rule.min_patients
                safe = len(out) > 1 and bool(enough)
            if not safe:
                visible = [part for part in parts if not hidden[part]]
                hidden[_smallest(counts, visible) if visible else total] = True
                waiting = True


def _hide_beside(counts: Counts, hidden: Bool[np.ndarray, " C"], cell: int) -> bool:
    """Leave out the smallest cell that is in a sum with this one, margins last; say whether there is one."""
    with_it = [sum_ for sum_ in counts.sums if cell == sum_[0] or cell in sum_[1]]
    for near in ({p for _, parts in with_it for p in parts}, {total for total, _ in with_it}):
        visible = [one for one in near if not hidden[one]]
        if visible:
            hidden[_smallest(counts, visible)] = True
            return True
    return False


def _smallest(counts: Counts, cells: Sequence[int]) -> int:
    return min(cells, key=lambda cell: (counts.patients[cell], counts.visits[cell], cell))


def _told(counts: Counts, rule: Rule, hidden: Bool[np.ndarray, " C"]) -> list[int]:
    """Return the cells left out whose visits follow too closely from what is published."""
    width = rule.min_patients - 1
    out = np.flatnonzero(hidden)
    if not len(out):
        return []
    place = np.full(len(hidden), -1)
    place[out] = np.arange(len(out))
    rows, columns, signs, known = [], [], [], []
    for total, parts in counts.sums:
        inside = [part for part in parts if hidden[part]]
        if not inside and not hidden[total]:
            continue
        row = len(known)
        members = [(place[part], 1.0) for part in inside] + [(place[total], -1.0)] * bool(hidden[total])
        rows += [row] * len(members)
        columns += [column for column, _ in members]
        signs += [sign for _, sign in members]
        published = sum(int(counts.visits[part]) for part in parts if not hidden[part])
        known.append((0 if hidden[total] else int(counts.visits[total])) - published)
    system = coo_array((signs, (rows, columns)), shape=(len(known), len(out))).tocsr()
    both = system.T @ system
    n_groups, group = connected_components(both, directed=False)
    most = float(counts.visits.max()) + width + 1
    truth = counts.visits[out].astype(float)
    told: list[int] = []
    for one in range(n_groups):
        inside = np.flatnonzero(group == one)
        mine = system[:, inside]
        lines = np.flatnonzero(np.diff(mine.indptr))
        right = np.array(known, float)[lines]
        spans = _spans(mine[lines], right, truth[inside], width, most)
        told += out[inside[spans < width]].tolist()
    return told


def _spans(system: coo_array, right: np.ndarray, truth: np.ndarray, width: int, most: float) -> np.ndarray:
    """Return how far each unknown can move while all sums hold; at least `width` is known to be enough."""
    low, high = truth.copy(), truth.copy()
    if not len(right):
        return np.full(len(truth), np.inf)
    for i in range(len(truth)):
        # Every solution is one that could be true: it widens what is possible for all the others too.
        for sign in (1.0, -1.0):
            if high[i] - low[i] >= width:
                break
            target = np.zeros(len(truth))
            target[i] = sign
            found = linprog(target, A_eq=system, b_eq=right, bounds=(1.0, most), method="highs")
            if found.x is not None:
                np.minimum(low, found.x, out=low)
                np.maximum(high, found.x, out=high)
    return np.floor(high + 1e-6) - np.ceil(low - 1e-6)


@dataclass(frozen=True)
class Protected:
    """What of a family of tables is published.

    Args:
        counts: all of it; not to be published.
        hidden: cells left out.
        rule: how.
    """

    counts: Counts
    hidden: Bool[np.ndarray, " C"]
    rule: Rule

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {cell: place for place, cell in enumerate(self.counts.cells)})

    def _published(self, of: np.ndarray, dimensions: Mapping[str, str]) -> float:
        place: int | None = self._places.get(frozenset(dimensions.items()))  # type: ignore[attr-defined]
        if place is None:
            return 0.0
        return np.nan if self.hidden[place] else float(self.rule.rounded(of[place]))

    def visits(self, **dimensions: str) -> float:
        """Return the visits of a cell as published; NaN where it is left out, 0 where it is empty."""
        return self._published(self.counts.visits, dimensions)

    def patients(self, **dimensions: str) -> float:
        """Return the patients of a cell as published; NaN where it is left out, 0 where it is empty."""
        return self._published(self.counts.patients, dimensions)

    def share(self, of: Mapping[str, str], **dimensions: str) -> float:
        """Return a cell as a percentage of another; of published counts, NaN where one is left out."""
        whole = self.visits(**of)
        return 100 * self.visits(**of, **dimensions) / whole if whole else np.nan


def publish(counts: Counts, rule: Rule) -> Protected:
    """Return what of a family of tables may be published."""
    return Protected(counts, protect(counts, rule), rule)
