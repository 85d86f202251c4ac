"""Which files hold tables, by their names."""

from pathlib import Path

#: Endings of names, small or capital: those of one kind may be parts of one table.
KINDS = ((".csv", ".csv.gz"), (".tsv", ".tsv.gz"), (".txt", ".txt.gz"), (".parquet", ".pq"))
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


def inside(folder: Path) -> list[Path]:
    """Return the files of a folder, by name, without those that are no part of a table."""
    # What starts so is no part: _SUCCESS, .crc, metadata, nor is what lies in _temporary.
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(name[0] in "._" for name in file.relative_to(folder).parts)
    ]
