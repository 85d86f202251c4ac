"""Which counts may be published, so that nobody is told apart: not by a cell, and not by any sum of cells.

A family of tables is counted together (`count`): every cell, every margin, and which cells add up to which.
`protect` then says what must be left out: cells with few patients behind them, and as many more as it takes
that no sum gives the first away. What is left is rounded (`Protected`); shares are taken of rounded counts,
so that they tell no more than the counts do.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array

#: Cells that are tried, one after the other, to protect those that are told.
TRIALS = 4
#: Random questions that are asked of all cells at once, before each is asked about alone.
GLANCES = 4
#: Share of the visits of a cell of few patients, however many visits these are, that nobody may come nearer.
NEAR = 0.1
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

    def could_be(self, visits: int) -> tuple[int, int]:
        """Return the least and the most that a published count of visits could stand for."""
        published = self.rounded(visits)
        if not published:
            return 0, 0
        least = -(-(2 * published - self.rounding) // 2) if published > self.rounding else 1
        most = -(-(2 * published + self.rounding) // 2) - 1
        return max(least, self.min_patients), most


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
    # Sorting beats hashing here by far: it is vectorised, and twice as fast where numbers are short.
    short = (int(people.max(initial=0)) + 1) * size < np.iinfo(np.int32).max
    pairs = people.astype(np.int32 if short else np.int64) * size
    pairs += codes.astype(pairs.dtype)
    pairs.sort()
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
    is published, and how it was rounded, must be unable to tell the visits of a cell that is left out more
    closely than within `min_patients` numbers, or a tenth of the visits where few patients made many, by any
    combination of sums (a linear program for each).

    Args:
        counts: the cells and their sums.
        rule: what may be published.
    """
    hidden = counts.patients < rule.min_patients
    having: list[list[int]] = [[] for _ in counts.cells]  # of each cell: the sums that it is in
    for place, (total, parts) in enumerate(counts.sums):
        for cell in (total, *parts):
            having[cell].append(place)
    hidden = _completed(counts, rule, hidden, having, range(len(counts.sums)))
    attacker = _Attacker(counts, rule)
    attacker.glance(hidden)
    queue = deque(np.flatnonzero(hidden).tolist())
    while queue:
        # Leaving out more only adds to what could be true: a cell that is not told now never will be.
        if attacker.tells(cell := queue.popleft(), hidden):
            more = _more(counts, rule, hidden, having, attacker, cell)
            if more is not None:  # else all is left out already
                queue.extend([cell, *np.flatnonzero(more & ~hidden).tolist()])
                hidden = more
    return hidden


def _more(
    counts: Counts,
    rule: Rule,
    hidden: Bool[np.ndarray, " C"],
    having: Sequence[Sequence[int]],
    attacker: "_Attacker",
    told: int,
) -> Bool[np.ndarray, " C"] | None:
    """Return the cells to leave out so that one is told no more; None if there are none.

    Tried are the parts of its sums, those first that cost least, then their totals; where all of these are
    left out already, those of the sums that they are in, and so on. Where none helps alone, the first is
    taken, and the next round goes on from there.
    """
    tried: list[Bool[np.ndarray, " C"]] = []
    reached, sums = {told}, set[int]()
    while not tried:
        before = len(sums)
        sums |= {place for cell in reached for place in having[cell]}
        if len(sums) == before:
            return None
        parts = {part for place in sums for part in counts.sums[place][1]}
        totals = {counts.sums[place][0] for place in sums}
        for near in (parts, totals):
            visible = [one for one in near if not hidden[one]]
            for extra in sorted(visible, key=_cost(counts, hidden, having))[: TRIALS - len(tried)]:
                more = hidden.copy()
                more[extra] = True
                more = _completed(counts, rule, more, having, having[extra])
                if not attacker.copy().tells(told, more):
                    return more
                tried.append(more)
        reached = parts | totals
    return tried[0]


def _completed(
    counts: Counts,
    rule: Rule,
    hidden: Bool[np.ndarray, " C"],
    having: Sequence[Sequence[int]],
    waiting: Iterable[int],
) -> Bool[np.ndarray, " C"]:
    """Return what to leave out so that none of the sums that wait, nor any they touch, gives a cell away."""
    hidden, queue = hidden.copy(), deque(waiting)
    while queue:
        total, parts = counts.sums[queue.popleft()]
        out = [part for part in parts if hidden[part]]
        if hidden[total]:
            safe = bool(out)
        else:
            # All parts together are the total, and that has enough.
            enough = len(out) == len(parts) or max(counts.patients[out], default=0) >= rule.min_patients
            safe = not out or (len(out) > 1 and bool(enough))
        if not safe:
            visible = [part for part in parts if not hidden[part]]
            extra = min(visible, key=_cost(counts, hidden, having)) if visible else total
            hidden[extra] = True
            queue.extend(having[extra])
    return hidden


def _cost(
    counts: Counts, hidden: Bool[np.ndarray, " C"], having: Sequence[Sequence[int]]
) -> Callable[[int], tuple[int, int, int]]:
    """Return what tells how dear it is to leave out a cell: how many sums that are whole break; its size."""

    def cost(cell: int) -> tuple[int, int, int]:
        whole = sum(
            not hidden[total] and not hidden[list(parts)].any()
            for total, parts in map(counts.sums.__getitem__, having[cell])
        )
        return whole, int(counts.patients[cell]), cell

    return cost


class _Attacker:
    """Knows all that is published and how it was rounded, and asks what could be true.

    That is: every count that rounds to what is published of it, at least a visit in every cell left out, and
    all sums. A cell is told if it cannot move by `min_patients` - 1 visits within that, or by `NEAR` of its
    visits where few patients made them.
    """

    def __init__(self, counts: Counts, rule: Rule) -> None:
        self.rule, self.system, self.n_sums = rule, _system(counts), len(counts.sums)
        self.could_be = [rule.could_be(visits) for visits in counts.visits.tolist()]
        self.unknown = (1, int(counts.visits.max()) + rule.min_patients)
        self.low, self.high = counts.visits.astype(float), counts.visits.astype(float)
        few = counts.patients < rule.min_patients
        self.span = np.maximum(rule.min_patients - 1, np.where(few, NEAR * counts.visits, 0.0))

    def copy(self) -> "_Attacker":
        """Return one that may ask what is not decided yet."""
        other = copy(self)
        other.low, other.high = self.low.copy(), self.high.copy()
        return other

    def tells(self, cell: int, hidden: Bool[np.ndarray, " C"]) -> bool:
        """Return whether a cell that is left out can be told."""
        for sign in (1.0, -1.0):
            if not self._narrow(cell):
                return False
            target = np.zeros(len(hidden))
            target[cell] = sign
            self._look(target, hidden)
        return self._narrow(cell)

    def glance(self, hidden: Bool[np.ndarray, " C"]) -> None:
        """Ask of all cells left out at once."""
        rng, cells = np.random.default_rng(0), np.flatnonzero(hidden).tolist()
        for _ in range(GLANCES):
            if left := [cell for cell in cells if self._narrow(cell)]:
                target = np.zeros(len(hidden))
                target[left] = rng.choice([-1.0, 1.0], len(left))
                self._look(target, hidden)
                self._look(-target, hidden)

    def _narrow(self, cell: int) -> bool:
        span = np.floor(self.high[cell] + 1e-6) - np.ceil(self.low[cell] - 1e-6)
        return bool(span < self.span[cell])

    def _look(self, target: Float[np.ndarray, " C"], hidden: Bool[np.ndarray, " C"]) -> None:
        bounds = [self.unknown if out else one for one, out in zip(self.could_be, hidden, strict=True)]
        right = np.zeros(self.n_sums)
        found = linprog(target, A_eq=self.system, b_eq=right, bounds=bounds, method="highs")
        # Every solution is one that could be true: it widens what is possible for all cells.
        if found.x is not None:
            np.minimum(self.low, found.x, out=self.low)
            np.maximum(self.high, found.x, out=self.high)


def _system(counts: Counts) -> csr_array:
    """Return a row for each sum: its parts less its total, which is 0."""
    rows = [row for row, (_, parts) in enumerate(counts.sums) for _ in range(len(parts) + 1)]
    columns = [cell for total, parts in counts.sums for cell in (*parts, total)]
    signs = [sign for _, parts in counts.sums for sign in (*[1.0] * len(parts), -1.0)]
    return coo_array((signs, (rows, columns)), shape=(len(counts.sums), len(counts.cells))).tocsr()


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

    def untold(self) -> set[tuple[str, str]]:
        """Return the values of dimensions that visits have, and of which no number is published."""
        cells = list(zip(self.counts.cells, self.hidden.tolist(), strict=True))
        published = {one for cell, out in cells if not out for one in cell}
        return {one for cell, _ in cells for one in cell} - published

    def share(self, of: Mapping[str, str], **dimensions: str) -> float:
        """Return a cell as a percentage of another; of published counts, NaN where one is left out."""
        whole = self.visits(**of)
        return 100 * self.visits(**of, **dimensions) / whole if whole else np.nan


def publish(counts: Counts, rule: Rule) -> Protected:
    """Return what of a family of tables may be published."""
    return Protected(counts, protect(counts, rule), rule)
