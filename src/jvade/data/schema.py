"""A dictionary, as TOML gives it, to frozen dataclasses: strict, and with every problem found in one go."""

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jvade.data.errors import closest

_WORDS = {str: "text in quotes", bool: "true or false", int: "a whole number"}


class Builder:
    """Builds dataclasses from dictionaries and gathers what does not fit.

    Attributes:
        problems: one message per problem, each naming the key.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def build(self, cls: type, raw: dict[str, Any], where: str = "") -> Any:
        """Return an instance of the dataclass `cls`, or None where a required key is missing or unfit.

        Args:
            cls: a dataclass whose fields are text, flags, whole numbers, literals, tuples, dictionaries
                or such dataclasses.
            raw: the values by key.
            where: the key this dictionary was found under, "" for the whole file.
        """
        hints, known = get_type_hints(cls), {f.name: f for f in fields(cls)}
        prefix = f"{where}." if where else ""
        for key in raw.keys() - known.keys():
            place = f"in [{where}]" if where else "at the top"
            self.problems.append(
                f"'{prefix}{key}': unknown key{closest(key, known)}; valid keys {place}: {', '.join(known)}"
            )
        values = {}
        for name, spec in known.items():
            if name in raw:
                values[name] = self._value(hints[name], raw[name], prefix + name)
            elif spec.default is MISSING and spec.default_factory is MISSING:
                self.problems.append(f"'{prefix}{name}': missing; expected {_describe(hints[name])}")
        required = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
        return cls(**values) if required <= values.keys() else None

    def _value(self, hint: Any, raw: Any, where: str) -> Any:
        origin, args = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            choices = [a for a in args if a is not NoneType]
            table = [a for a in choices if is_dataclass(a)]
            # A table can only be the dataclass of the union; anything else only the rest of it.
            chosen = (table if isinstance(raw, dict) else [a for a in choices if a not in table]) or choices
            if len(chosen) == 1:
                return self._value(chosen[0], raw, where)
        elif isinstance(hint, type) and is_dataclass(hint) and isinstance(raw, dict):
            return self.build(hint, raw, where)
        elif origin is Literal and raw in args:
            return raw
        elif origin is tuple and isinstance(raw, list) and raw:
            return tuple(self._value(args[0], item, f"{where}[{i + 1}]") for i, item in enumerate(raw))
        elif origin is dict and isinstance(raw, dict):
            return {key: self._value(args[1], item, f"{where}.{key}") for key, item in raw.items()}
        elif type(raw) is hint:
            return raw
        self.problems.append(f"'{where}': expected {_describe(hint)}, got {_got(raw)}")
        return None


def marked(value: Any, marker: Any, hint: Any = None, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield each non-empty text of a built dataclass whose annotation is `marker`, with its key.

    Args:
        value: the dataclass.
        marker: an `Annotated[str, ...]`.
        hint: annotation of `value`; the recursion fills it in.
        where: key of `value`; the recursion fills it in.
    """
    if hint == marker:
        if value:
            yield value, where
    elif is_dataclass(value):
        hints = get_type_hints(type(value), include_extras=True)
        for name in hints:
            yield from marked(getattr(value, name), marker, hints[name], f"{where}.{name}" if where else name)
    elif isinstance(value, tuple):
        for i, item in enumerate(value, start=1):
            yield from marked(item, marker, get_args(hint)[0], f"{where}[{i}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from marked(key, marker, get_args(hint)[0], where)
            yield from marked(item, marker, get_args(hint)[1], f"{where}.{key}")


def _describe(hint: Any) -> str:
    """Return the words for what a key should hold."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_describe(a) for a in args if a is not NoneType)
    if origin is Literal:
        return "one of " + ", ".join(f'"{a}"' for a in args)
    if origin is tuple:
        return f"a list of {_describe(args[0])}"
    if origin is dict:
        return f"a table whose values are {_describe(args[1])}"
    if is_dataclass(hint):
        return f"a table with the keys {', '.join(f.name for f in fields(hint))}"
    return _WORDS[hint]


def _got(raw: Any) -> str:
    """Return the words for what a key holds."""
    if isinstance(raw, list):
        return "a list" if raw else "an empty list (leave the key out instead)"
    if isinstance(raw, dict):
        return "a table"
    return f"the text '{raw}'" if isinstance(raw, str) else f"{raw!r}".lower()
