"""How a file writes its dates, as a pattern that every engine understands."""

import re

DAY = ("%Y", "%m", "%d")
TIME = ("%H", "%M", "%S")
#: Digits of each piece; a month, day or hour may lack its zero where signs part the pieces.
DIGITS = {"%Y": "4", "%m": "1,2", "%d": "1,2", "%H": "1,2", "%M": "2", "%S": "2"}
#: 2024-05-31, with or without a time of day behind it: what engines read without help.
ISO = r"^\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?$"


def pattern(form: str) -> tuple[str, dict[str, int]]:
    """Return a regular expression for dates of a form, and the number of the group each piece is in.

    Args:
        form: as in strptime, of %Y, %m and %d, perhaps %H, %M and %S, and signs between them, for example
            "%d/%m/%Y".

    Raises:
        ValueError: what the form should be made of.
    """
    parts = re.findall(r"%.|[^%]+|%$", form)
    used = [part for part in parts if part.startswith("%")]
    times = tuple(part for part in TIME if part in used)
    if sorted(used) != sorted((*DAY, *times)) or times != TIME[: len(times)]:
        raise ValueError("expected %Y, %m and %d, each once, perhaps %H, %M and %S")
    found = "^"
    for before, part, after in zip(["", *parts], parts, [*parts[1:], ""], strict=False):
        if part in DIGITS:
            packed = before in DIGITS or after in DIGITS
            found += rf"(\d{{{DIGITS[part][-1] if packed else DIGITS[part]}}})"
        else:
            found += re.escape(part)
    return f"{found}$", {part: i for i, part in enumerate(used, start=1)}
