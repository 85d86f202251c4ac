"""Which files hold tables, by their names."""

import errno
import gzip
import os
from pathlib import Path
from typing import IO

#: Endings of names, small or capital: those of one kind may be parts of one table.
KINDS = ((".csv", ".csv.gz"), (".tsv", ".tsv.gz"), (".txt", ".txt.gz"), (".parquet", ".pq"))
#: What the system says of a path where nothing is.
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
ENDINGS = tuple(ending for kind in KINDS for ending in kind)


def ends(file: Path, endings: tuple[str, ...]) -> bool:
    """Return whether the name of a file has one of the endings."""
    return file.name.lower().endswith(endings)


def is_csv(file: Path) -> bool:
    """Return whether a file of a table is text, fields parted by some sign."""
    return not ends(file, KINDS[-1])


def is_packed(file: Path) -> bool:
    """Return whether a file is packed by gzip."""
    return ends(file, (".gz",))


def unpacked(file: Path) -> IO[bytes]:
    """Open a file for its bytes, as they were before it was packed."""
    return gzip.open(file) if is_packed(file) else file.open("rb")  # type: ignore[return-value]


def inside(folder: Path) -> list[Path]:
    """Return the files of a folder, by name, without those that are no part of a table.

    Raises:
        OSError: a folder in it cannot be looked into; what lies there would be missing.
    """
    found = []
    for place, folders, names in os.walk(folder, onerror=_refuse):
        # What starts so is no part: _SUCCESS, .crc, metadata, nor is what lies in _temporary.
        folders[:] = [name for name in folders if name[0] not in "._"]
        found += [Path(place, name) for name in names if name[0] not in "._"]
    return sorted(file for file in found if file.is_file())


def _refuse(error: OSError) -> None:
    raise error
