"""Folders for what need not stay. They are gone afterwards, and too when the process is told to end."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

#: Signals that end a process of which Python would clean nothing up; Windows has one of them.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_held: set[Path] = set()


@contextmanager
def folder(within: Path | None = None) -> Iterator[Path]:
    """Make a folder that only its owner may look into."""
    with tempfile.TemporaryDirectory(prefix="jvade-", dir=within) as name, _watched():
        path = Path(name)
        _held.add(path)
        try:
            yield path
        finally:
            _held.discard(path)


@contextmanager
def _watched() -> Iterator[None]:
    """Listen to the signals that nobody else listens to; only the main thread may."""
    ours = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    """Remove the folders, and end as the signal would have ended it."""
    del frame
    for path in _held:
        shutil.rmtree(path, ignore_errors=True)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
