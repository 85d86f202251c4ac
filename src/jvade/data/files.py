"""Which files of a folder are parts of a table."""

from pathlib import Path


def inside(folder: Path) -> list[Path]:
    """Return the files of a folder, by name, without those that are no part of a table."""
    # What starts so is no part: _SUCCESS, .crc, metadata, nor is what lies in _temporary.
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(name[0] in "._" for name in file.relative_to(folder).parts)
    ]
