"""Types of care-seeking: rules over the profile of a cluster that give it a name, and advice (3.6, 4.2)."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

#: A text in each language.
Text = Mapping[str, str]
LANGUAGES = ("en", "zh")
LIMITS = ("at_least", "at_most", "times_at_least", "times_at_most")


class Figure(NamedTuple):
    """A number of a profile: of the cluster, and of all visits; NaN where unknown or left out."""

    value: float
    overall: float

    @property
    def times(self) -> float:
        """The cluster's over that of all visits."""
        return self.value / self.overall if self.overall else math.nan


@dataclass(frozen=True)
class Need:
    """What a profile must meet; a limit that is None asks nothing.

    Args:
        variable: of the profile.
        at_least: least of the cluster's figure, in its unit.
        at_most: most of it.
        times_at_least: least of the cluster's figure over that of all visits.
        times_at_most: most of it.
    """

    variable: str
    at_least: float | None = None
    at_most: float | None = None
    times_at_least: float | None = None
    times_at_most: float | None = None

    def says(self, profile: Mapping[str, Figure]) -> bool | None:
        """Return whether a profile meets it; None where that hangs on a figure that is left out.

        One without the figure does not meet it, nor do times of 0.
        """
        figure = profile.get(self.variable)
        if figure is None:
            return False
        limits = ((self.at_least, 1, figure.value), (self.at_most, -1, figure.value))
        if self.times_at_least is not None or self.times_at_most is not None:
            if figure.overall == 0:
                return False
            limits += ((self.times_at_least, 1, figure.times), (self.times_at_most, -1, figure.times))
        asked = [(sign * limit, sign * found) for limit, sign, found in limits if limit is not None]
        if any(found < limit for limit, found in asked):
            return False
        return None if any(math.isnan(found) for _, found in asked) else True

    def met(self, profile: Mapping[str, Figure]) -> bool:
        """Return whether a profile is seen to meet it."""
        return self.says(profile) is True


@dataclass(frozen=True)
class Advice:
    """A suggestion, the variables whose figures it rests on, and what else it needs to be given."""

    text: Text
    figures: tuple[str, ...]
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class CareType:
    """A named type: what it needs, and the advice for it."""

    name: Text
    needs: tuple[Need, ...]
    advice: tuple[Advice, ...]


def match(types: Sequence[CareType], profile: Mapping[str, Figure]) -> CareType | None:
    """Return the type whose needs a cluster meets, of several that which needs most; or None.

    Of its advice, that is left whose own needs are met too.
    """
    fitting = [one for one in types if all(need.met(profile) for need in one.needs)]
    found = max(fitting, key=lambda one: len(one.needs), default=None)
    if found is None:
        return None
    given = tuple(one for one in found.advice if all(need.met(profile) for need in one.needs))
    return replace(found, advice=given)


def undecided(types: Sequence[CareType], profile: Mapping[str, Figure]) -> bool:
    """Return whether a type might fit a cluster that none is seen to fit, if all its figures were told."""
    return match(types, profile) is None and any(
        all(need.says(profile) is not False for need in one.needs) for one in types
    )


class TypesError(ValueError):
    """A file of types cannot be used.

    Attributes:
        problems: one message for each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


def read(text: str) -> list[CareType]:
    """Return the types of a TOML file.

    Raises:
        TypesError: what was expected, and what came, for every mistake in it.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TypesError([f"this is no TOML: {error}"]) from None
    reader = _Reader()
    reader.known(raw, {"types"}, "the file")
    types = [
        reader.care_type(one, f"type {i}") for i, one in enumerate(reader.tables(raw, "types", "the file"), 1)
    ]
    if not types:
        reader.problems.append("expected at least one [[types]]")
    if reader.problems:
        raise TypesError(reader.problems)
    return types


class _Reader:
    """Turns tables of a file into types, and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def care_type(self, raw: Mapping[str, Any], where: str) -> CareType:
        self.known(raw, {"name", "needs", "advice"}, where)
        name = self.text(raw.get("name"), f"{where}: name")
        where = f"{where} ({name['en']})" if name["en"] else where
        needs = tuple(self.need(one, where) for one in self.tables(raw, "needs", where))
        if not needs:
            self.problems.append(f"{where}: expected at least one need, or every cluster would be of it")
        advice = tuple(self.advice(one, where) for one in self.tables(raw, "advice", where))
        return CareType(name, needs, advice)

    def need(self, raw: Mapping[str, Any], where: str) -> Need:
        self.known(raw, {"variable", *LIMITS}, f"{where}: a need")
        variable = raw.get("variable")
        if not isinstance(variable, str) or not variable:
            self.problems.append(f"{where}: a need: expected the name of a variable, got {variable!r}")
        limits = {name: raw[name] for name in LIMITS if name in raw}
        if not limits:
            self.problems.append(f"{where}: {variable}: expected at least one of {', '.join(LIMITS)}")
        for name, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
                self.problems.append(f"{where}: {variable}: {name}: expected a number, got {value!r}")
        return Need(str(variable), **limits)

    def advice(self, raw: Mapping[str, Any], where: str) -> Advice:
        self.known(raw, {*LANGUAGES, "figures", "needs"}, f"{where}: an advice")
        figures = raw.get("figures", [])
        if not isinstance(figures, list) or not all(isinstance(one, str) for one in figures) or not figures:
            self.problems.append(f"{where}: an advice: figures: expected names of variables, got {figures!r}")
            figures = []
        text = self.text({one: raw.get(one) for one in LANGUAGES}, f"{where}: an advice")
        needs = tuple(self.need(one, f"{where}: an advice") for one in self.tables(raw, "needs", where))
        return Advice(text, tuple(figures), needs)

    def text(self, raw: object, where: str) -> Text:
        raw = raw if isinstance(raw, dict) else {}
        self.known(raw, {*LANGUAGES}, where)
        for language in LANGUAGES:
            if not isinstance(raw.get(language), str) or not raw[language].strip():
                self.problems.append(f"{where}: expected a text under {language}, got {raw.get(language)!r}")
        return {language: str(raw.get(language) or "") for language in LANGUAGES}

    def tables(self, raw: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
        found = raw.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            self.problems.append(f"{where}: {name}: expected a list of tables, got {type(found).__name__}")
            return []
        return found

    def known(self, raw: Mapping[str, Any], names: set[str], where: str) -> None:
        for name in sorted(raw.keys() - names):
            self.problems.append(f"{where}: unknown name '{name}'; expected {', '.join(sorted(names))}")
