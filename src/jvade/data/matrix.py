"""Inputs to the scaled float32 matrix that the networks see (Table 2, column "scaling"), and back."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jvade.data.errors import InputError
from jvade.data.variables import Kind, Variable


@dataclass(frozen=True)
class Scaling:
    """What turns each input into a column of the matrix: (value - mean) / scale.

    Args:
        names: inputs, in the order of the matrix.
        kinds: "numeric" or "binary" of each.
        means: mean of each numeric input in its own unit; 0 for a binary one.
        scales: standard deviation (ddof 0) of each numeric input, 1 where it is constant; 1 for a binary one.
        constant: names of the inputs, of either kind, that had one value only or none.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    constant: tuple[str, ...] = ()

    @property
    def numeric(self) -> np.ndarray:
        """Whether each column is numeric, bool (D,)."""
        return np.array([kind == "numeric" for kind in self.kinds])

    def to_dict(self) -> dict[str, Any]:
        """Return the scaling as plain lists, ready for JSON."""
        return {name: list(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Scaling":
        """Return the scaling that `to_dict` wrote."""
        return cls(**{name: tuple(value) for name, value in raw.items()})


@dataclass(frozen=True)
class Encoding:
    """All it takes to give new visits the columns of old ones: kept with a model, as JSON.

    Args:
        inputs: in the order of the matrix.
        levels: codes of each one-hot column, the one left out first; see `VisitTable`.
        scaling: of the rows the model is trained on. Validation rows count among them: lanes with other
            seeds hold out other rows of the one matrix they share.
    """

    inputs: tuple[Variable, ...]
    levels: dict[str, tuple[str, ...]]
    scaling: Scaling

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        raw = {"inputs": [asdict(v) for v in self.inputs], "levels": self.levels}
        text = json.dumps(raw | {"scaling": self.scaling.to_dict()}, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Encoding":
        """Read what `write` wrote.

        Raises:
            InputError: the file cannot be read, or is no encoding.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            inputs = tuple(Variable(**one) for one in raw["inputs"])
            levels = {name: tuple(codes) for name, codes in raw["levels"].items()}
            return cls(inputs, levels, Scaling.from_dict(raw["scaling"]))
        except OSError:
            raise InputError(["the file cannot be opened; check the path"], path.name) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            advice = "name the encoding.json of an earlier run"
            raise InputError([f"this is no encoding; {advice}"], path.name) from None

    def check(self, names: Iterable[str]) -> None:
        """Refuse inputs that are not those of the encoding.

        Raises:
            InputError: which are missing, and which are new.
        """
        ours, theirs = [v.name for v in self.inputs], list(names)
        problems = [f"input '{name}': missing; the encoding has it" for name in ours if name not in theirs]
        problems += [f"input '{name}': the encoding does not have it" for name in theirs if name not in ours]
        if not problems and ours != theirs:
            problems = ["the inputs stand in another order than in the encoding"]
        if problems:
            raise InputError([*problems[:-1], f"{problems[-1]}; use the mapping of the first run"], "mapping")


def fit_scaling(frame: pd.DataFrame, inputs: Sequence[Variable]) -> Scaling:
    """Measure mean and standard deviation of the numeric inputs, in float64, over what is not missing.

    Args:
        frame: visits with a column per input.
        inputs: the inputs, in the order the matrix will have.

    Raises:
        ValueError: an input has no column, an infinite value, or is binary and neither 0 nor 1.
    """
    _require(frame, [variable.name for variable in inputs])
    means, scales, constant = [], [], []
    for variable in inputs:
        values = frame[variable.name].to_numpy(dtype=np.float64)
        known = values[~np.isnan(values)]
        if np.isinf(known).any():
            raise ValueError(f"input '{variable.name}': {np.isinf(known).sum()} values are infinite")
        if variable.kind == "binary" and (len(known) < len(values) or not np.isin(known, (0, 1)).all()):
            raise ValueError(f"input '{variable.name}': a binary input must be 0 or 1 in every row")
        # By its range: the computed deviation of equal numbers need not be exactly zero.
        if len(known) == 0 or known.min() == known.max():
            constant.append(variable.name)
        if variable.kind == "binary":
            means.append(0.0)
            scales.append(1.0)
            continue
        means.append(float(known.mean()) if len(known) else 0.0)
        scales.append(1.0 if variable.name in constant else float(known.std()))
    names = tuple(variable.name for variable in inputs)
    kinds: tuple[Kind, ...] = tuple(variable.kind for variable in inputs)
    return Scaling(names, kinds, tuple(means), tuple(scales), tuple(constant))


def to_matrix(frame: pd.DataFrame, scaling: Scaling) -> np.ndarray:
    """Return the inputs as a matrix, float32 (N, D); a missing number is 0, the mean of the known ones.

    Args:
        frame: visits with a column per name of the scaling; others are ignored.
        scaling: as `fit_scaling` returned it.

    Raises:
        ValueError: an input has no column.
    """
    _require(frame, scaling.names)
    matrix = np.empty((len(frame), len(scaling.names)), dtype=np.float32)
    for i, (name, mean, scale) in enumerate(zip(scaling.names, scaling.means, scaling.scales, strict=True)):
        matrix[:, i] = (frame[name].to_numpy(dtype=np.float64) - mean) / scale
    return np.nan_to_num(matrix, copy=False, nan=0.0)


def from_matrix(matrix: np.ndarray, scaling: Scaling) -> pd.DataFrame:
    """Return a matrix, such as one the decoder made, in the units of the inputs.

    Args:
        matrix: scaled values (N, D).
        scaling: as `fit_scaling` returned it.

    Returns:
        A float64 column per input. A number that was missing comes back as the mean.

    Raises:
        ValueError: the matrix has another number of columns than the scaling.
    """
    if matrix.ndim != 2 or matrix.shape[1] != len(scaling.names):
        raise ValueError(f"expected a matrix of {len(scaling.names)} columns, got shape {matrix.shape}")
    values = matrix.astype(np.float64) * np.array(scaling.scales) + np.array(scaling.means)
    return pd.DataFrame(values, columns=list(scaling.names))


def _require(frame: pd.DataFrame, names: Sequence[str]) -> None:
    absent = [name for name in names if name not in frame]
    if absent:
        raise ValueError(
            f"inputs without a column: {', '.join(absent)}; the columns are {list(frame.columns)}"
        )
