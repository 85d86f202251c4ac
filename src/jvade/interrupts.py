"""Ctrl-C that nothing can swallow.

Python calls a handler wherever it happens to be. In a callback of the garbage collector, of which JAX has
one, what the handler raises is printed and forgotten, and a training would go on. So it is remembered, and
raised again where the program next looks.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = threading.Event()


def _stop(number: int, frame: FrameType | None) -> None:
    _asked.set()
    signal.default_int_handler(number, frame)


@contextmanager
def remembered() -> Iterator[None]:
    """Remember ctrl-C within, unless it is ignored or somebody else handles it."""
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _asked.clear()
    if ours:
        signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _asked.clear()


def check() -> None:
    """Go on, or raise what got lost.

    Raises:
        KeyboardInterrupt: ctrl-C has been pressed.
    """
    if _asked.is_set():
        raise KeyboardInterrupt
