"""Files that appear whole or not at all, and what only its owner may read."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def private_folder(path: Path) -> None:
    """Make a folder that only its owner can look into, unless it is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write(target: Path, make: Callable[[Path], Any], private: bool = False) -> Path:
    """Let `make` write a file, or a folder, beside the target, flush it to the disk, and move it into place.

    A file that stood there before stays until then. Where `make` fails, nothing of the new is left. What a
    killed process left unfinished is written over: the name is always the same, so two processes must not
    write one target at a time. What is `private` only its owner may read, while it is written too.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".unfinished-{target.name}")
    try:
        if private:
            unfinished.touch(mode=0o600)
        make(unfinished)
        if private:  # `make` may have put another file there
            unfinished.chmod(0o700 if unfinished.is_dir() else 0o600)
        if unfinished.is_dir():  # what Spark calls a file
            shutil.rmtree(target, ignore_errors=True)
        else:
            with unfinished.open("rb+") as stream:
                os.fsync(stream.fileno())
        unfinished.replace(target)
        _flush(target.parent)
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)
    return target


def _flush(folder: Path) -> None:
    """Have the disk know the names in a folder, where the system can: a power cut then loses none."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
