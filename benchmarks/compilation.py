"""How long a fit of a small table takes, where most of the time is compilation.

    .venv/bin/python benchmarks/compilation.py --out benchmarks/results/compilation.json

`jvade fit` as a process of its own, from its start to its end: with nothing kept of earlier ones, and with
what the one before has compiled, where JAX is told to keep it; and `VaDE.fit` twice in one process that keeps
nothing, the second time with other rows of the same shape.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import predict
import report

#: JAX keeps programs that take this long to compile, in seconds; by itself, those of a second or more.
KEEP = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}

TWICE = """
import sys, time
import numpy as np
import jvade
rows = np.random.default_rng(0).normal(size=(2, int(sys.argv[1]), 6))
for seed, x in enumerate(rows):
    begin = time.perf_counter()
    jvade.VaDE(n_clusters=3, random_state=seed).fit(x)
    print(time.perf_counter() - begin)
"""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Time of a fit of a small table.")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for name in [one for one in os.environ if one == "XLA_FLAGS" or one.startswith("JAX_")]:
        del os.environ[name]
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="jvade-") as temp:
        table = Path(temp) / "table.csv"
        rows = np.random.default_rng(0).normal(size=(options.rows, 6))
        pd.DataFrame(rows, columns=list("abcdef")).to_csv(table, index=False)
        for repeat in range(options.repeats):
            os.environ |= KEEP | {"JAX_COMPILATION_CACHE_DIR": f"{temp}/programs-{repeat}"}
            for kind in ("nothing kept", "compiled before"):
                words = ("--table", table, "--n-clusters", "3", "--out", f"{temp}/{repeat} {kind}")
                seconds.setdefault(f"jvade fit, {kind}", []).append(predict.jvade("fit", *words)[0])
            for name in (*KEEP, "JAX_COMPILATION_CACHE_DIR"):
                del os.environ[name]
            both = subprocess.check_output(
                [sys.executable, "-c", TWICE, str(options.rows)], text=True
            ).split()
            for which, value in zip(("first", "second"), both, strict=True):
                seconds.setdefault(f"VaDE.fit, {which} in a process", []).append(float(value))
            print({name: values[-1] for name, values in seconds.items()}, flush=True)
    found = {"seconds": {name: report.spread(values) for name, values in seconds.items()}}
    report.write("benchmarks/compilation.py", options, found, options.out)


if __name__ == "__main__":
    main()
