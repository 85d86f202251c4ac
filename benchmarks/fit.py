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

import report

#: Of a fit, in their order.
PARTS = ("pretraining", "mixture start", "fine-tuning", "consensus", "in all")


def fit(n_visits: int, n_runs: int | None) -> None:
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


def measure(source: Path, options: argparse.Namespace) -> dict[str, object]:
    """Return what a process of some code prints."""
    words = ["--visits", str(options.visits), "--one"]
    words += [] if options.runs is None else ["--runs", str(options.runs)]
    environment = os.environ | {"PYTHONPATH": str(source.resolve())}
    done = subprocess.run(
        [sys.executable, __file__, *words], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Seconds of each part of a robust fit.")
    parser.add_argument("--visits", type=int, default=200_000)
    parser.add_argument("--runs", type=int, help="runs of the consensus; else those of the configuration")
    parser.add_argument("--before", type=Path, help="folder of the packages of an earlier revision")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.one:
        fit(options.visits, options.runs)
        return
    sources = {"now": Path(__file__).parents[1] / "src"}
    if options.before:
        sources = {"before": options.before} | sources
    each = {name: [] for name in sources}
    for _ in range(options.repeats):
        for name, source in sources.items():
            each[name].append(measure(source, options))
            print(name, each[name][-1], flush=True)
    found = {
        name: {
            "runs": lines[0]["runs"],
            "seconds": {part: report.spread([line["seconds"][part] for line in lines]) for part in PARTS},
        }
        for name, lines in each.items()
    }
    report.write("benchmarks/fit.py", options, {"code": found}, options.out)


if __name__ == "__main__":
    main()
