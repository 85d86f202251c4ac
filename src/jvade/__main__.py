"""`python -m jvade` is the command `jvade`."""

from jvade.cli import main

main()
