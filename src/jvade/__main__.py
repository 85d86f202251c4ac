"""The command `jvade`, and `python -m jvade`."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from jvade.version import __version__

STOPPED = 130


def command(args: Sequence[str] | None = None) -> None:
    """Run the command line as a process of its own.

    Stopped by ctrl-C, it ends at once: programs that still run in threads of XLA outlive what they need
    where Python takes everything down in order, and crash.
    """
    args = sys.argv[1:] if args is None else args
    if list(args) == ["--version"]:
        print(f"jvade {__version__}")
        return
    try:
        from jvade.cli import main  # seconds to load, in which ctrl-C is as good as later

        main(args)
    except KeyboardInterrupt:
        print("jvade: stopped", file=sys.stderr)
    except SystemExit as ended:
        if ended.code != STOPPED:
            raise
    else:
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(STOPPED)


if __name__ == "__main__":
    command()
