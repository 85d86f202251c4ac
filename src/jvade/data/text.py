"""How CSV files are written, and how they become UTF-8, which every engine reads."""

import codecs
import gzip
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from jvade.data.files import is_packed

#: Characters, or bytes, that are read at a time.
CHUNK = 1 << 20


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
        except (LookupError, ValueError):
            expected = 'expected the name of a text encoding, for example "gb18030"'
            return [f"charset: {expected}; got the text '{self.charset}'"]
        return []

    @property
    def codec(self) -> str:
        """Name of the codec that reads it: of UTF-8 the one that passes over the mark Excel puts first."""
        name = codecs.lookup(self.charset).name
        return "utf-8-sig" if name == "utf-8" else name

    def open(self, file: Path) -> TextIO:
        """Open a file, packed or not, as text whose line ends are as they stand."""
        opener = gzip.open if is_packed(file) else open
        return opener(file, "rt", encoding=self.codec, newline="")  # type: ignore[return-value]

    def as_utf8(self, file: Path, folder: Path) -> Path:
        """Return a file of the same text in UTF-8: the file itself, or a new one in a folder.

        Raises:
            UnicodeError: it is not written so.
        """
        if self.codec == "utf-8-sig":
            return file
        written = folder / f"{sum(1 for _ in folder.iterdir())}.csv"
        with self.open(file) as text, written.open("w", encoding="utf-8", newline="") as out:
            while part := text.read(CHUNK):
                out.write(part)
        return written


UTF8 = Csv()


def likely_charset(start: bytes) -> str:
    """Return the encoding that a text seems to be in, by its first bytes: a guess, but for UTF-8."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut through
    except UnicodeDecodeError:
        # A Chinese character is two bytes, mostly high ones, and seldom alone; a letter with an accent one.
        high = [len(run) for run in re.findall(rb"[\x80-\xff]+", start)]
        chinese = sum(n for n in high if n >= 4) > sum(n for n in high if n % 2)
        return "gb18030" if chinese else "cp1252"
    return "utf-8"
