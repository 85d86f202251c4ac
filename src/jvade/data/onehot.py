"""A column of codes to 0/1 inputs, one left out because the others imply it (Table 2)."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import ibis.expr.types as ir

from jvade.data.lookups import NONE
from jvade.data.variables import Variable

OTHER = "other"
ABSENT = -2  # position of a code that no row has


@dataclass(frozen=True)
class Coding:
    """How to expand one column of codes.

    Args:
        name: start of the names of the inputs.
        label: words for a reader.
        group: heading the inputs stand under.
        column: the person's name of the column.
        left_out: code without an input; "" takes the most frequent.
        max_levels: codes at most, the pooled "other" and the one left out included, at least 2.
        labels: words for codes, used in the names and labels of the inputs.
        refuses: whether a code that an earlier file did not have stops the run.
    """

    name: str
    label: str
    group: str
    column: str
    left_out: str = ""
    max_levels: int = 10
    labels: dict[str, str] = field(default_factory=dict)
    refuses: bool = True


def choose_levels(counts: Mapping[str, int], coding: Coding, min_rows: int = 1) -> tuple[str, ...]:
    """Return the codes that count: the one left out, then those with an input, then perhaps "other".

    Args:
        counts: rows of each code.
        coding: how to expand the column.
        min_rows: of a code; rarer ones are pooled.
    """
    # The most frequent stay; equal counts are settled by code, so the answer does not hang on row order.
    ranked = sorted(counts, key=lambda c: (c != coding.left_out, -counts[c], c))
    if not ranked:
        return ()
    if ranked[0] != coding.left_out and counts[ranked[0]] < min_rows:  # and so are all
        return (OTHER,)
    common = [code for code in ranked[1:] if counts[code] >= min_rows]
    pooled = len(common) < len(ranked) - 1 or len(ranked) > coding.max_levels
    levels = (ranked[0], *sorted(common[: coding.max_levels - 1 - pooled]))
    # A code of that very name takes the rare ones in.
    return (*levels, OTHER) if pooled and OTHER not in levels else levels


def unseen(counts: Mapping[str, int], levels: tuple[str, ...], coding: Coding) -> str:
    """Return the message about codes that an earlier file did not have, or "" where it had them all.

    Where that file pooled rare codes as "other" these are among them: none can be told to be new.
    """
    new = [code for code in counts if code not in levels]
    if not new or OTHER in levels:
        return ""
    rows = sum(counts[code] for code in new)
    what = f"{len(new)} code{'s' if len(new) > 1 else ''} that the first file did not have"
    advice = (
        "correct them, or set 'unseen' to \"left out\" in its part of the mapping"
        if coding.refuses
        else "such a row has none of the inputs, as has one of the code left out"
    )
    return f"column '{coding.column}': {what}, in {rows} row{'s' if rows > 1 else ''}; {advice}"


def one_hot(
    positions: ir.IntegerValue, codes: Sequence[str], coding: Coding, levels: tuple[str, ...]
) -> tuple[list[Variable], dict[str, ir.BooleanValue]]:
    """Expand a column of codes.

    A code that is none of the levels counts as "other" where that is a level; else it counts as the level
    left out, the first, and so does a blank.

    Args:
        positions: the position of each row's code among `codes`; `NONE` for a blank.
        codes: all the codes of the column.
        coding: how to expand it.
        levels: as `choose_levels` returned them, for this file or an earlier one.

    Returns:
        The inputs, and their columns by name.
    """
    variables, columns = [], {}
    number = {text: i for i, text in enumerate(codes)}
    named = [number[level] for level in levels if level != OTHER and level in number]
    for i, level in enumerate(levels[1:], start=1):
        words = coding.labels.get(level, level)
        name = f"{coding.name}_{re.sub(r'[^0-9a-z]+', '_', words.lower()).strip('_') or i}"
        while name in columns:  # two codes whose names differ only in signs
            name = f"{name}_{i}"
        # A person may call a further column what the study calls one of its own.
        of = f"{coding.group}: {coding.name}"
        variables.append(Variable(name, f"{coding.label}: {words}", coding.group, "binary", code_of=of))
        other = level == OTHER
        columns[name] = positions.notin([NONE, *named]) if other else positions == number.get(level, ABSENT)
    return variables, columns
