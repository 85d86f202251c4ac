"""A person's table to the matrix that the networks see, and back: numbers, 0/1 columns, categories."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

Kind = Literal["numeric", "binary", "categorical"]

#: Categories of one column at most: a column of more is rather a name or a number of something.
MAX_CATEGORIES = 50


@dataclass(frozen=True)
class Column:
    """One column of the table, and what becomes of it.

    Args:
        name: as in the table; its place, from 0, where columns have no names.
        kind: "numeric" gets a z-score, "binary" is 0 or 1 and stays so, "categorical" gets a 0/1 column for
            each of its categories.
        mean: of a numeric column, in its own unit.
        scale: standard deviation (ddof 0) of a numeric column, 1 where it is constant.
        categories: of a categorical column, in the order of their columns.
    """

    name: str | int
    kind: Kind
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[Any, ...] = ()

    @property
    def width(self) -> int:
        """Columns of the matrix that it takes."""
        return len(self.categories) if self.kind == "categorical" else 1


@dataclass(frozen=True)
class Columns:
    """All columns of a table, in the order of the matrix."""

    each: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(column.width for column in self.each)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the columns as what JSON holds."""
        return [asdict(column) for column in self.each]

    @classmethod
    def from_dict(cls, raw: Sequence[Mapping[str, Any]]) -> "Columns":
        """Return the columns that `to_dict` wrote."""
        fields: list[dict[str, Any]] = [{**one, "categories": tuple(one["categories"])} for one in raw]
        return cls(tuple(Column(**one) for one in fields))

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """Return the matrix of a table, float32 (N, D).

        A missing number is 0, the mean of the known ones; a missing or unknown category is 0 in all of its
        columns.

        Args:
            table: with these columns, in this order; their names are not looked at.

        Raises:
            ValueError: infinite values, or a binary column with others than 0 and 1; never shows a value.
        """
        matrix, begin = np.empty((len(table), self.width), np.float32), 0
        for position, column in enumerate(self.each):
            values = table.iloc[:, position]
            part = matrix[:, begin : begin + column.width]
            if column.kind == "categorical":
                codes = pd.Index(column.categories).get_indexer(pd.Index(_plain(values)))
                part[:] = codes[:, None] == np.arange(column.width)
            else:
                part[:, 0] = (_numbers(values, column.name, column.kind) - column.mean) / column.scale
            begin += column.width
        return np.nan_to_num(matrix, copy=False, nan=0.0)

    def decode(self, matrix: np.ndarray) -> pd.DataFrame:
        """Return a matrix, such as one the decoder made, in the units of the table.

        Binary columns are left between 0 and 1 or a little beyond, as the decoder has them; of the
        categories, the one with the largest value.
        """
        columns, begin = {}, 0
        for position, column in enumerate(self.each):
            part = matrix[:, begin : begin + column.width].astype(float)
            if column.kind == "categorical":
                values = np.array([*column.categories], object)[part.argmax(axis=1)]
            else:
                values = part[:, 0] * column.scale + column.mean
            columns[position] = values
            begin += column.width
        return pd.DataFrame(columns).set_axis([column.name for column in self.each], axis=1)


def learn(table: pd.DataFrame, kinds: Mapping[Hashable, Kind] | None = None) -> Columns:
    """Return the columns of a table, with what their scaling and categories are to be.

    Where a kind is not given, text and categories are categorical, truth values and numbers that are 0 or 1
    in every row (and both occur) binary, other numbers numeric.

    Args:
        table: the rows of the fit.
        kinds: of some columns, by name.

    Raises:
        ValueError: a kind or a name that does not exist, too many categories, infinite values, or a column
            that is not what its kind says; never shows a value.
    """
    kinds = dict(kinds or {})
    names = table.columns.tolist()
    if unknown := [name for name in kinds if name not in names]:
        raise ValueError(f"kinds: no such columns: {', '.join(map(str, unknown))}; there are {names}")
    known = ("numeric", "binary", "categorical")
    if wrong := [name for name, kind in kinds.items() if kind not in known]:
        raise ValueError(f"kinds: expected one of {', '.join(known)} for {', '.join(map(str, wrong))}")
    each = [_learn(table.iloc[:, position], name, kinds.get(name)) for position, name in enumerate(names)]
    return Columns(tuple(each))


def _learn(values: pd.Series, name: Any, kind: Kind | None) -> Column:
    kind = kind or _kind(values)
    if kind == "categorical":
        found = _plain(values).dropna().unique()
        if len(found) > MAX_CATEGORIES:
            raise ValueError(
                f"column '{name}': {len(found)} categories, at most {MAX_CATEGORIES} are taken; leave the "
                "column out, or join categories"
            )
        return Column(name, kind, categories=tuple(sorted(found.tolist(), key=lambda c: (str(type(c)), c))))
    numbers = _numbers(values, name, kind)
    known = numbers[~np.isnan(numbers)]
    # By its range: the computed deviation of equal numbers need not be exactly zero.
    constant = len(known) == 0 or known.min() == known.max()
    if kind == "binary" or len(known) == 0:
        return Column(name, kind)
    if constant:
        return Column(name, kind, float(known[0]))
    return Column(name, kind, float(known.mean()), float(known.std()))


def _kind(values: pd.Series) -> Kind:
    if pd.api.types.is_bool_dtype(values.dtype):
        return "numeric" if values.isna().any() else "binary"
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return "categorical"
    return "binary" if set(values.unique()) == {0, 1} else "numeric"


def _plain(values: pd.Series) -> pd.Series:
    """Return categories as the values that stand for them."""
    dense = values.astype(object)
    return dense.where(dense.notna(), None)


def _numbers(values: pd.Series, name: Any, kind: Kind) -> np.ndarray:
    try:
        numbers = values.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise ValueError(
            f"column '{name}': expected numbers in a {kind} column; was it read as text, "
            "or is it categorical?"
        ) from None
    if n_bad := int(np.isinf(numbers).sum()):
        raise ValueError(f"column '{name}': expected finite numbers, got {n_bad} of {len(numbers)} infinite")
    if kind == "binary" and (n_bad := int((~np.isin(numbers, (0, 1))).sum())):
        raise ValueError(
            f"column '{name}': expected 0 or 1 in every row of a binary column, got {n_bad} of "
            f"{len(numbers)} that are neither; if it is a number, name its kind before the fit"
        )
    return numbers
