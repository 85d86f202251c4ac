"""A column of codes to 0/1 inputs, one left out because the others imply it (Table 2)."""

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from jvade.data.variables import Variable

OTHER = "other"


@dataclass(frozen=True)
class Coding:
    """How to expand one column of codes.

    Args:
        name: start of the names of the inputs.
        label: words for a reader.
        group: heading the inputs stand under.
        left_out: code without an input; "" takes the most frequent.
        max_levels: codes at most, the pooled "other" and the one left out included, at least 2.
        labels: words for codes, used in the names and labels of the inputs.
    """

    name: str
    label: str
    group: str
    left_out: str = ""
    max_levels: int = 10
    labels: dict[str, str] = field(default_factory=dict)


def choose_levels(codes: pd.Series, coding: Coding) -> tuple[str, ...]:
    """Return the codes that count: the one left out, then those with an input, then perhaps "other".

    Args:
        codes: categorical column; a blank is none of its levels.
        coding: how to expand it.
    """
    counts = {str(code): count for code, count in codes.value_counts().items() if count}
    # The most frequent stay; equal counts are settled by code, so the answer does not hang on row order.
    ranked = sorted(counts, key=lambda c: (c != coding.left_out, -counts[c], c))
    if not ranked:
        return ()
    if len(ranked) > coding.max_levels:
        return (ranked[0], *sorted(ranked[1 : coding.max_levels - 1]), OTHER)
    return (ranked[0], *sorted(ranked[1:]))


def one_hot(
    codes: pd.Series, coding: Coding, levels: tuple[str, ...] | None = None
) -> tuple[list[Variable], dict[str, pd.Series], tuple[str, ...]]:
    """Expand a column of codes.

    Args:
        codes: categorical column of text; a blank gives a row of zeros, like the level left out.
        coding: how to expand it.
        levels: levels of an earlier file to use again; a code it did not have counts as "other" where
            there is one, and else gives a row of zeros.

    Returns:
        The inputs, their uint8 columns by name, and the levels.
    """
    levels = choose_levels(codes, coding) if levels is None else levels
    position = {level: i for i, level in enumerate(levels)}
    unknown = position.get(OTHER, 0)
    lookup = np.array([position.get(code, unknown) for code in codes.cat.categories] + [0])
    place = lookup[codes.cat.codes.to_numpy()]  # a blank has code -1, the last entry: the level left out
    variables, columns = [], {}
    for i, level in enumerate(levels[1:], start=1):
        words = coding.labels.get(level, level)
        name = f"{coding.name}_{re.sub(r'[^0-9a-z]+', '_', words.lower()).strip('_')}"
        if name in columns:  # two codes whose names differ only in signs
            name = f"{name}_{i}"
        variables.append(Variable(name, f"{coding.label}: {words}", coding.group, "binary"))
        columns[name] = pd.Series((place == i).astype(np.uint8), index=codes.index)
    return variables, columns, levels
