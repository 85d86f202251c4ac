"""Reproduce the study, on a simulated district or on your own visits: the command `jvade paper`.

python scripts/paper.py --preset quick
python scripts/paper.py --visits visits.parquet --mapping mapping.toml --out results/mine
python scripts/paper.py --help
"""

import sys

from jvade.__main__ import command

if __name__ == "__main__":
    command(["paper", *sys.argv[1:]])
