"""What each part of a robust fit takes, of this code and of earlier.

    .venv/bin/python benchmarks/fit.py --out benchmarks/results/fit.json
    git worktree add /tmp/before REVISION
    .venv/bin/python benchmarks/fit.py --before /tmp/before/src --out benchmarks/results/fit.json

A simulated district, of which a fifth of the patients is kept aside as in `quality.py`. Every repeat is a
process of its own, the revisions taking turns; it fits twice and tells the second, that compiles nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import report

#: Says that a process is to fit, and print what it took.
ONE = "--one"
#: Of a fit, in their order.
PARTS = ("pretraining", "mixture start", "fine-tuning", "placing and linking", "in all")


def fit(n_visits: int, n_runs: int | None = None) -> None:
    """Print the seconds of each part of a fit, and its number of runs."""
    import quality

    from jvade import clustering
    from jvade.core.lanes import Progress

    cohort = quality.draw(n_visits, 101)
    configuration = replace(clustering.ROBUST, n_runs=n_runs or clustering.ROBUST.n_runs)
    for seed in (1, 2):
        events: list[tuple[str, float]] = []

        def mark(progress: Progress, events: list[tuple[str, float]] = events) -> None:
            events.append((progress.stage, time.perf_counter()))

        begin = time.perf_counter()
        clustering.cluster(
            cohort.x[~cohort.test], 7, seed, configuration, mark, blocks=quality.blocks(quality.STUDY_INPUTS)
        )
        end = time.perf_counter()
    first, second = ([at for stage, at in events if stage == name] for name in ("pretraining", "fine-tuning"))
    borders = (begin, first[-1], second[0], second[-1], end)
    seconds = [after - before for before, after in pairwise(borders)]
    found = dict(zip(PARTS, [*seconds, end - begin], strict=True))
    print(json.dumps({"runs": configuration.n_runs, "seconds": found}))


def measure(source: Path, n_visits: int, n_runs: int | None) -> dict[str, Any]:
    """Return what a process of some code prints."""
    words = [ONE, str(n_visits), *([] if n_runs is None else [str(n_runs)])]
    environment = os.environ | {"PYTHONPATH": str(source.resolve())}
    done = subprocess.run(
        [sys.executable, __file__, *words], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def revision(source: Path) -> str:
    """Return the revision that some code is of."""
    words = ["git", "-C", str(source), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Seconds of each part of a robust fit.")
    parser.add_argument("--visits", type=int, default=200_000)
    parser.add_argument("--before", type=Path, help="folder of the packages of an earlier revision")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    here = Path(__file__).parents[1] / "src"
    code = {"now": here}
    if options.before:
        code = {"before": options.before, "now, as many runs": here} | code
    each: dict[str, list[dict[str, Any]]] = {name: [] for name in code}
    for _ in range(options.repeats):
        for name, lines in each.items():
            n_runs = each["before"][0]["runs"] if name == "now, as many runs" else None
            lines.append(measure(code[name], options.visits, n_runs))
            print(name, lines[-1], flush=True)
    found = {
        name: {
            "revision": revision(code[name]),
            "runs": lines[0]["runs"],
            "seconds": {part: report.spread([line["seconds"][part] for line in lines]) for part in PARTS},
        }
        for name, lines in each.items()
    }
    report.write("benchmarks/fit.py", options, {"code": found}, options.out)


if __name__ == "__main__":
    if ONE in sys.argv:
        fit(*map(int, sys.argv[2:]))
    else:
        main()
