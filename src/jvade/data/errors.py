"""What a person's input got wrong, as messages that say what to do and never show a row's values."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A file or a mapping cannot be used as it is.

    Args:
        problems: one message per problem, each fit to be shown to the person whose file it is.
        source: what the problems are in, for example the name of the file.

    Attributes:
        problems: the messages, in the order found.
    """

    def __init__(self, problems: Iterable[str], source: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{source}: " if source else ""
        if count == 1:
            text = head + self.problems[0]
        else:
            text = f"{head}{count} problems\n" + "\n".join(
                f"  {i + 1}. {p}" for i, p in enumerate(self.problems)
            )
        super().__init__(text)


def closest(word: str, known: Iterable[str]) -> str:
    """Return "; the closest is 'x'" for the known word nearest to `word`, or "" where none is near."""
    names = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), names, n=1)
    return f"; the closest is '{names[found[0]]}'" if found else ""


def out_of_reach(why: str) -> str:
    """Return what to say of a file that the system does not give, by what the system says."""
    advice = "check that you may read it, and that its disk or share is there"
    return f"the file cannot be read: {why}; {advice}"
