"""How CSV files are written, and how they become UTF-8, which every engine reads."""

import codecs
import io
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from jvade.data.errors import InputError
from jvade.data.files import unpacked

#: Characters, or bytes, that are read at a time.
CHUNK = 1 << 20
#: Codecs that Python calls encodings of text, in which nobody writes a table.
NO_CHARSETS = ("charmap", "idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape")
#: What a text may begin with to tell its encoding.
MARK = "\ufeff"
#: Different signs from which on what reads as UTF-8 is UTF-8, and no other encoding by chance.
MIN_SIGNS = 3


@dataclass(frozen=True)
class Csv:
    """How CSV files are written.

    Args:
        charset: the encoding of the text: utf-8, gb18030 (Excel in Chinese; has GBK and GB2312 in it), cp1252
            (Excel in western Europe and Brazil), utf-16 (Excel's "Unicode text"), or any that Python knows.
        decimal: the sign before the decimals of a number.
    """

    charset: str = "utf-8"
    decimal: Literal[".", ","] = "."

    @property
    def problems(self) -> list[str]:
        """What is wrong with it, a line for each problem."""
        try:
            "a".encode(self.charset)
            known = codecs.lookup(self.charset).name.replace("_", "-") not in NO_CHARSETS
        except (LookupError, ValueError):
            known = False
        expected = 'expected the name of a text encoding, for example "gb18030"'
        return [] if known else [f"charset: {expected}; got the text '{self.charset}'"]

    def check(self) -> None:
        """Refuse what is wrong with it, as flags say it.

        Raises:
            InputError: what was expected, and what came.
        """
        if problems := [f"--csv.{problem}" for problem in self.problems]:
            raise InputError(problems, "settings")

    @property
    def codec(self) -> str:
        """Name of the codec that reads it: of UTF-8 the one that passes over a mark."""
        name = codecs.lookup(self.charset).name
        return "utf-8-sig" if name == "utf-8" else name

    def open(self, file: Path) -> TextIO:
        """Open a file, packed or not, as text without a mark, whose line ends are as they stand."""
        text = io.TextIOWrapper(unpacked(file), encoding=self.codec, newline="")
        if self.codec.startswith("utf-16-") and text.read(1) != MARK:
            text.seek(0)
        return text

    def is_mistaken(self, file: Path) -> bool:
        """Return whether a file is in UTF-8 all the same, by its first bytes: signs would become others."""
        if self.codec == "utf-8-sig":
            return False
        with unpacked(file) as opened:
            start = opened.read(CHUNK)
        text = _decoded(start, "utf-8")
        if not text:
            return False
        if self.codec.startswith(("utf-16", "utf-32")):  # in which a comma has a byte of 0
            return b"\0" not in start
        # In GB18030 two bytes are a sign; some of its words read as signs of two bytes here, few of three.
        pairs = len(b"\xe4\xbd".decode(self.codec, "replace")) == 1
        return len({sign for sign in text if sign >= ("\u0800" if pairs else "\x80")}) >= MIN_SIGNS

    def as_utf8(self, file: Path, folder: Path) -> Path:
        """Return a file of the same text in UTF-8: the file itself, or a new one in a folder.

        Raises:
            UnicodeError: it is not written so.
        """
        if self.codec == "utf-8-sig":
            return file
        with (
            self.open(file) as text,
            tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", newline="", suffix=".csv", dir=folder, delete=False
            ) as out,
        ):
            while part := text.read(CHUNK):
                out.write(part)
        return Path(out.name)


UTF8 = Csv()

#: Numbers with a sign before three digits from which on it seems to part thousands.
MIN_PARTED = 3
#: What to do about it.
PARTED = "three digits follow it everywhere, so it seems to part thousands: take it out; of decimals, add a 0"


def shapes(sign: str) -> tuple[str, str, str, str]:
    """Return patterns for `parts_thousands`: a sign, one before three digits, few digits alone, and many.

    Few digits are three at the most and begin with no 0: nobody parts 0 from thousands.
    """
    one = re.escape(sign)
    parted = rf"^\s*[-+]?[1-9][0-9]{{0,2}}({one}[0-9]{{3}})+\s*$"
    return one, parted, r"^\s*[-+]?[1-9][0-9]{0,2}\s*$", r"^\s*[-+]?[0-9]{4,}\s*$"


def parts_thousands(counts: Sequence[int]) -> bool:
    """Return whether a sign in numbers seems to part thousands, by how many texts have each of `shapes`.

    Three digits follow it wherever it stands, and smaller numbers stand without it, larger ones do not.
    """
    some, parted, few, many = counts
    return MIN_PARTED <= some == parted and few > 0 == many


def likely_charset(start: bytes) -> str:
    """Return the encoding that a text seems to be in, by its first bytes: a guess, but for UTF-8."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if _decoded(start, "utf-8") is not None:
        return "utf-8"
    # A Chinese character is two high bytes, mostly; a letter with an accent is one, most often among others.
    high = sum(byte >= 0x80 for byte in start)
    several = sum(map(len, re.findall(rb"(?:[\x81-\xfe]{2}){2,}", start)))
    alone = sum(map(len, re.findall(rb"(?<![A-Za-z\x80-\xff])[\xa1-\xfe]{2}(?![A-Za-z\x80-\xff])", start)))
    chinese = 2 * (several + alone) > high
    return "gb18030" if chinese and _decoded(start, "gb18030") is not None else "cp1252"


def _decoded(start: bytes, charset: str) -> str | None:
    """Return what a text begins with, None where it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(charset)().decode(start)  # the last character may be cut through
    except UnicodeDecodeError:
        return None
