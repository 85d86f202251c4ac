"""A person's table to the matrix that the networks see, and back: numbers, 0/1 columns, categories."""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from jvade.core.settings import Block, joined

Kind = Literal["numeric", "binary", "categorical"]

#: Categories of one column at most: a column of more is rather a name or a number of something.
MAX_CATEGORIES = 50
#: Rows of a category at least: a rarer one counts as none, and no model keeps its name. And known values of a
#: number: of fewer no model keeps the mean.
MIN_ROWS = 8
#: Share of the rows with a rare or unknown category in a column, above which a person is told of it.
MANY_UNKNOWN = 0.05
#: Share of the rows that may have several codes of one variable, by mistake.
SEVERAL = 0.01
#: A number as people write amounts: of a currency, or with commas between thousands.
AMOUNT = re.compile(
    r"(R\$|RMB|[¥￥$€£])\s?[-+]?\d[\d,]*(\.\d+)?|[-+]?\d[\d,]*(\.\d+)?\s?(元|€|RMB)|[-+]?\d{1,3}(,\d{3})+(\.\d+)?"
)
#: What a date begins with.
DATE = re.compile(r"(\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))(?!\d)")


class TableError(ValueError):
    """Columns cannot be used as they are; the message says which and why, and never shows a value.

    Args:
        problems: one message per problem.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True)
class Column:
    """One column of the table, and what becomes of it.

    Args:
        name: as in the table; its place, from 0, where columns have no names.
        kind: "numeric" gets a z-score, "binary" is 0 or 1 and stays so, "categorical" gets a 0/1 column for
            each of its categories.
        mean: of the known values, in their own unit; of a binary column, the share of 1.
        scale: standard deviation (ddof 0) of a numeric column, 1 of others; 0 of a column of which fewer than
            `MIN_ROWS` rows of the fit had another value than the rest, or any at all: it tells nothing then,
            and is 0 in every row. Its mean is the value of the rest; 0 where that is no `MIN_ROWS` rows.
        categories: of a categorical column, in the order of their columns.
        code_of: the variable that a binary column is one code of; "" for none.
    """

    name: str | int
    kind: Kind
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[Any, ...] = ()
    code_of: str = ""

    @property
    def width(self) -> int:
        """Columns of the matrix that it takes."""
        return len(self.categories) if self.kind == "categorical" else 1

    @property
    def silent(self) -> bool:
        """Whether it tells nothing: it has one value, or none that a model may know."""
        return self.scale == 0

    @property
    def block(self) -> Block:
        """The likelihood of its columns, where likelihoods are by kind.

        A category that is none of those known is the one without a column. A column that tells nothing is a
        number: it is 0 in every row.
        """
        if self.kind == "numeric" or self.scale == 0:
            return Block("gaussian", self.width)
        return Block("bernoulli" if self.kind == "binary" else "categorical", self.width)

    def encode(self, values: pd.Series) -> np.ndarray:
        """Return its columns of the matrix (N, width); see `Columns.encode`."""
        if self.kind == "categorical":
            return (self.positions(values)[:, None] == np.arange(self.width)) & (self.scale > 0)
        if self.scale and self.kind == "binary" and values.dtype == bool:
            return values.to_numpy()[:, None]
        numbers = _numbers(values, self.name, self.kind)
        if self.scale == 0:
            return np.zeros((len(values), 1))
        numbers = np.where(np.isnan(numbers), self.mean, numbers)
        return ((numbers - self.mean) / self.scale if self.kind == "numeric" else numbers)[:, None]

    def decode(self, part: np.ndarray, probabilities: bool = False) -> np.ndarray:
        """Return its values from its columns of the matrix; see `Columns.decode`."""
        if self.kind == "categorical":
            found = np.full(len(part), None, object)
            if self.silent and self.categories:
                found[:] = self.categories[0]
            elif self.categories:
                found[:] = np.array([*self.categories], object)[part.argmax(axis=1)]
                # What is left of 1 is the probability of none; where all are normal, none is 0 in each.
                none = 1 - part.sum(axis=1) > part.max(axis=1) if probabilities else part.max(axis=1) < 0.5
                found[none] = None
            return found
        if self.scale == 0:
            return np.full(len(part), self.mean)
        return part[:, 0] * self.scale + self.mean if self.kind == "numeric" else part[:, 0]

    def positions(self, values: pd.Series) -> np.ndarray:
        """Return the place of each value among the categories, -1 for none of them.

        Numbers and text that read alike are one category: a table may come as CSV one day and as Parquet the
        next.
        """
        return pd.Index(map(_word, self.categories), dtype=object).get_indexer(_words(values, self.name))


@dataclass(frozen=True)
class Columns:
    """All columns of a table, in the order of the matrix."""

    each: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(column.width for column in self.each)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The likelihoods of the columns of the matrix, where they are by kind.

        Neighbours that are codes of one variable share a softmax, silent ones among them too: they are 0 in
        every row, as a code that no row has.
        """
        some = [column for column in self.each if column.width]
        return joined([column.block for column in some], [column.code_of for column in some])

    @property
    def silence(self) -> str:
        """What to be warned of where columns tell nothing; "" where all tell something."""
        names = [str(column.name) for column in self.each if column.silent]
        what = f"columns that tell nothing, with fewer than {MIN_ROWS} rows unlike the rest"
        return f"{what}: {', '.join(names)}" if names else ""

    def check(self) -> None:
        """Refuse columns of which none tells anything.

        Raises:
            TableError: it is so.
        """
        if all(column.silent for column in self.each):
            what = f"{MIN_ROWS} rows or more with another value than the rest"
            raise TableError(f"no column tells rows apart: none has {what}")

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the columns as what JSON holds."""
        return [asdict(column) for column in self.each]

    @classmethod
    def from_dict(cls, raw: Sequence[Mapping[str, Any]]) -> "Columns":
        """Return the columns that `to_dict` wrote.

        Raises:
            ValueError, TypeError: it did not.
        """
        each = tuple(Column(**{**one, "categories": tuple(one["categories"])}) for one in raw)
        for one in each:
            if one.kind not in get_args(Kind) or not np.isfinite([one.mean, one.scale]).all():
                raise ValueError(f"column '{one.name}'")
        return cls(each)

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """Return the matrix of a table, float32 (N, D).

        A missing number counts as the mean of the known ones of the fit, in a binary column as the share of
        1; a missing, rare or unknown category is 0 in all of its columns.

        Args:
            table: with these columns, in this order; their names are not looked at.

        Raises:
            TableError: infinite values, or a binary column with others than 0 and 1; never shows a value.
        """
        # Column by column in memory, as they are written.
        matrix, begin = np.empty((len(table), self.width), np.float32, order="F"), 0
        problems: list[str] = []
        for position, column in enumerate(self.each):
            try:
                matrix[:, begin : begin + column.width] = column.encode(table.iloc[:, position])
            except TableError as error:
                problems += error.problems
            begin += column.width
        if problems:
            raise TableError(*problems)
        return matrix

    def decode(self, matrix: np.ndarray, probabilities: bool = False) -> pd.DataFrame:
        """Return a matrix, such as one the decoder made, in the units of the table.

        Binary columns are left between 0 and 1 or a little beyond, as the decoder has them; of the
        categories it is the likeliest, or none, where that is likelier than any.

        Args:
            matrix: (N, D).
            probabilities: the columns of categories hold probabilities; else what is normal about 0 and 1.
        """
        found, begin = {}, 0
        for position, column in enumerate(self.each):
            part = matrix[:, begin : begin + column.width].astype(float)
            found[position] = column.decode(part, probabilities)
            begin += column.width
        return pd.DataFrame(found).set_axis([column.name for column in self.each], axis=1)

    def unknown(self, table: pd.DataFrame) -> dict[str, int]:
        """Return, for each column of categories, how many rows have one that the model does not know."""
        return {
            str(column.name): int((table.iloc[:, i].notna() & (column.positions(table.iloc[:, i]) < 0)).sum())
            for i, column in enumerate(self.each)
            if column.kind == "categorical"
        }

    def missing(self, table: pd.DataFrame) -> dict[str, int]:
        """Return, for each column, how many rows have no value in it."""
        return {str(column.name): int(table.iloc[:, i].isna().sum()) for i, column in enumerate(self.each)}


def learn(
    table: pd.DataFrame,
    kinds: Mapping[Hashable, Kind] | None = None,
    codes: Mapping[Hashable, str] | None = None,
) -> Columns:
    """Return the columns of a table, with what their scaling and categories are to be.

    Where a kind is not given, text and categories are categorical, truth values and numbers that are 0 or 1
    wherever they are known (and both occur) binary, other numbers numeric.

    Args:
        table: the rows of the fit.
        kinds: of some columns, by name.
        codes: the variable that a binary column is one code of, by name of the column; the codes of one
            stand side by side.

    Raises:
        TableError: a kind or a name that does not exist, codes that stand apart or of which rows have
            several, too many categories or none of `MIN_ROWS` rows, infinite values, or a column that is not
            what its kind says; never shows a value.
    """
    names = table.columns.tolist()
    if not names:
        raise TableError("expected one column or more, got none")
    for what, given in (("kinds", kinds), ("codes", codes)):
        if given is not None and not isinstance(given, Mapping):
            raise TableError(f"{what}: expected {what} by name of a column, got {type(given).__name__}")
        if unknown := [name for name in given or () if name not in names]:
            raise TableError(f"{what}: no such columns: {', '.join(map(str, unknown))}; there are {names}")
    kinds, codes = dict(kinds or {}), dict(codes or {})
    known = get_args(Kind)
    if wrong := [name for name, kind in kinds.items() if kind not in known]:
        raise TableError(f"kinds: expected one of {', '.join(known)} for {', '.join(map(str, wrong))}")
    if wrong := [name for name in codes if kinds.setdefault(name, "binary") != "binary"]:
        raise TableError(f"codes: expected 0/1 columns, but others are named: {', '.join(map(str, wrong))}")
    if wrong := [name for name, of in codes.items() if not isinstance(of, str) or not of]:
        raise TableError(f"codes: expected the name of a variable for {', '.join(map(str, wrong))}")
    runs = [of for of, _ in groupby(codes.get(name) for name in names) if of is not None]
    if apart := sorted({of for of in runs if runs.count(of) > 1}):
        problem = "those of one variable have to stand side by side, in the order of the inputs"
        raise TableError(f"codes: {problem}: {', '.join(apart)}")
    each: list[Column] = []
    problems: list[str] = []
    for position, name in enumerate(names):
        try:
            each.append(_learn(table.iloc[:, position], name, kinds.get(name)))
        except TableError as error:
            problems += error.problems
    if problems:
        raise TableError(*problems)
    _refuse_several(table, codes)
    return Columns(tuple(replace(one, code_of=codes.get(one.name, "")) for one in each))


def kinds_of(blocks: Sequence[Block]) -> tuple[dict[Hashable, Kind], dict[Hashable, str]]:
    """Return kinds and codes, by place, with which `learn` gives columns of these likelihoods."""
    kinds: dict[Hashable, Kind] = {}
    codes: dict[Hashable, str] = {}
    for number, block in enumerate(blocks):
        places = range(len(kinds), len(kinds) + block.width)
        kinds |= dict.fromkeys(places, "numeric" if block.likelihood == "gaussian" else "binary")
        if block.likelihood == "categorical":
            codes |= dict.fromkeys(places, f"variable {number + 1}")
    return kinds, codes


def _refuse_several(table: pd.DataFrame, codes: Mapping[Hashable, str]) -> None:
    """Refuse codes of which more than a few rows have several: they are no categories of one variable."""
    of_each = [codes.get(name) for name in table]
    for variable in dict.fromkeys(codes.values()):
        n_codes = np.zeros(len(table))
        for place in (place for place, of in enumerate(of_each) if of == variable):
            n_codes += np.nan_to_num(table.iloc[:, place].to_numpy(np.float64, na_value=np.nan))
        if (n := int((n_codes > 1).sum())) > SEVERAL * len(table):
            raise TableError(
                f"codes of {variable}: {n} of {len(table)} rows have two or more, where one at most was "
                "expected; name no codes of it, and each is a 0/1 column of its own"
            )


def _learn(values: pd.Series, name: Any, kind: Kind | None) -> Column:
    # Whoever made it a category has said so.
    is_given = kind is not None or isinstance(values.dtype, pd.CategoricalDtype)
    kind = kind or _kind(values)
    if kind == "categorical":
        codes, uniques = _factorize(values, name)
        if not is_given:
            _refuse_stray_words(codes, uniques, name)
        categories, some = _categories(codes, uniques, name)
        return Column(name, kind, scale=float(some), categories=categories)
    numbers = _numbers(values, name, kind)
    known = numbers[~np.isnan(numbers)]
    if len(known) < MIN_ROWS:  # its mean would be that of a few persons
        return Column(name, kind, 0.0, 0.0)
    # So it would where nearly all have one value, and that value where few have it.
    most, n = _most_frequent(known)
    if len(known) - n < MIN_ROWS:
        return Column(name, kind, most if n >= MIN_ROWS else 0.0, 0.0)
    with np.errstate(over="ignore"):
        mean, scale = float(known.mean()), float(known.std()) if kind == "numeric" else 1.0
    if not np.isfinite([mean, scale]).all():
        raise TableError(f"column '{name}': its numbers are so large that they have no deviation; rescale it")
    return Column(name, kind, mean, scale)


def _most_frequent(known: np.ndarray) -> tuple[float, int]:
    """Return the value that most have, and how many; of many, where not even half have one, the median."""
    if len(known) < 2 * MIN_ROWS:
        distinct, counts = np.unique(known, return_counts=True)
        return float(distinct[counts.argmax()]), int(counts.max())
    median = float(np.median(known))  # no sorting; what more than half have is the median
    return median, int((known == median).sum())


def _categories(codes: np.ndarray, uniques: Any, name: Any) -> tuple[tuple[Any, ...], bool]:
    """Return the categories of a column, and whether they tell rows apart."""
    counts: dict[str, int] = {}
    plain: dict[str, Any] = {}
    for value, n in zip(uniques, np.bincount(codes[codes >= 0], minlength=len(uniques)), strict=True):
        word = _word(value)
        counts[word] = counts.get(word, 0) + int(n)
        plain.setdefault(word, _python(value))
    kept = sorted(word for word, n in counts.items() if n >= MIN_ROWS)
    if len(kept) > MAX_CATEGORIES or (counts and not kept):
        what = f"{len(kept)} categories, at most {MAX_CATEGORIES} are taken"
        advice = "leave the column out, or join categories"
        if not kept:
            what = f"none of its {len(counts)} categories has {MIN_ROWS} rows or more"
            advice = f"is it a name? {advice.capitalize()}"
        if len(codes) < 2 * MIN_ROWS:
            advice = f"{len(codes)} rows are few: give more"
        elif 2 * sum(DATE.match(word) is not None for word in counts) > len(counts):
            advice = (
                "it holds dates: give as numbers what matters of them (a month, days since), or leave it out"
            )
        elif 2 * sum(AMOUNT.fullmatch(word) is not None for word in counts) > len(counts):
            advice = "it holds numbers with signs between thousands or of a currency: take the signs out"
        raise TableError(f"column '{name}': {what}; {advice}")
    found = tuple(plain[word] for word in kept)
    if not all(isinstance(one, str | int | float) for one in found):
        raise TableError(f"column '{name}': expected categories of text, numbers or truth values; convert it")
    return found, any(len(codes) - counts[word] >= MIN_ROWS for word in kept)


def _are_words(text: pd.Series) -> np.ndarray:
    """Return which texts do not say a number."""
    return np.isnan(np.asarray(pd.to_numeric(text, errors="coerce"), float))


def _refuse_stray_words(codes: np.ndarray, uniques: Any, name: Any) -> None:
    """Refuse numbers among which a few words stand: they are no categories, and nobody would be told."""
    # The last: of a missing value.
    is_word = np.append(_are_words(pd.Series([*map(str, uniques)], dtype=str)), False)
    words = is_word[codes]
    n_words, n_numbers = int(words.sum()), int((~words & (codes >= 0)).sum())
    # So many numbers are no codes, however many rows have a word for one that is missing.
    n_distinct = np.count_nonzero(is_word[:-1])
    many = n_words < n_numbers and n_distinct <= 2 and len(uniques) - n_distinct > MAX_CATEGORIES
    if n_words > 0 and (many or n_words < MIN_ROWS <= n_numbers):
        raise TableError(
            f"column '{name}': no numbers in {n_words} of {len(codes)} rows (first: row "
            f"{int(words.argmax()) + 1}), numbers in the others; correct them, leave blank what is missing,"
            " or say that it is categorical (kinds in Python, --categories of a command)"
        )


def _factorize(values: pd.Series, name: Any) -> tuple[np.ndarray, Any]:
    try:
        return pd.factorize(values)
    except TypeError:  # lists, for example
        problem = f"column '{name}': expected categories of text, numbers or truth values; convert it"
        raise TableError(problem) from None


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _kind(values: pd.Series) -> Kind:
    # A column of objects may hold numbers all the same.
    if values.dtype == object:
        found = pd.api.types.infer_dtype(values, skipna=True)
        numeric = found in ("integer", "floating", "mixed-integer-float", "boolean", "decimal")
    else:
        numeric = pd.api.types.is_numeric_dtype(values.dtype)  # truth values too
    if not numeric:
        return "categorical"
    return "binary" if set(values.dropna().unique()) == {0, 1} else "numeric"


def _word(value: Any) -> str:
    """Return how a category reads: 1, 1.0 and "1" are one."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _words(values: pd.Series, name: Any) -> np.ndarray:
    """Return how each value reads, None for a missing one."""
    codes, uniques = _factorize(values, name)
    words = np.array([*map(_word, uniques), None], object)
    return words[codes]


def _numbers(values: pd.Series, name: Any, kind: Kind) -> np.ndarray:
    try:
        if isinstance(values.dtype, np.dtype) and values.dtype.kind == "c":
            raise TypeError
        numbers = values.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):
        n_bad = int((_are_words(values.astype(str)) & values.notna()).sum())
        others = f", got others in {n_bad} of {len(values)} rows" if n_bad else ""
        problem = f"column '{name}': expected numbers in a {kind} column{others}"
        raise TableError(f"{problem}; was it read as text, or is it categorical?") from None
    if n_bad := int(np.isinf(numbers).sum()):
        raise TableError(f"column '{name}': expected finite numbers, got {n_bad} of {len(numbers)} infinite")
    if kind == "binary" and (n_bad := int((~np.isin(numbers, (0, 1)) & ~np.isnan(numbers)).sum())):
        raise TableError(
            f"column '{name}': expected 0 or 1 in every row of a binary column, got {n_bad} of "
            f"{len(numbers)} that are neither; if it is a number, say so before the fit"
        )
    return numbers
