"""What the likeness of clusters brings to a consensus that must join groups which no run joins.

    .venv/bin/python benchmarks/likeness.py --out benchmarks/results/likeness.json

Clusterings by the robust configuration, with either likelihood, each agreed on twice from the same runs: with
groups that no run joins joined by likeness (`ensemble.likeness`), and by chance. Small tables of 4,000 rows
with three planted groups. In "A", "B" and "C", age and cost tell them apart, and besides, in "A" a code and a
level, in "B" a sex and a flag, in "C" a place and a level; all else is noise. Their batches are those of the
estimator for so few rows. "D" is that of `examples/scikit_learn.py`: groups that overlap, a cost with a long
tail. A district of the quality bench; and a visit table of a person's own, by `--visits` and `--mapping`.

How likeness is measured was chosen on other draws of such small tables, on district 101, and on the real
admissions.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import quality
import report
import visits
from sklearn.metrics import adjusted_rand_score

from jvade import health
from jvade.analysis import consensus, stability
from jvade.clustering import ROBUST, cluster
from jvade.columns import learn
from jvade.core.settings import Block
from jvade.data.variables import STUDY_INPUTS
from jvade.paper.settings import PaperSettings
from jvade.paper.stages import robust

LIKELIHOODS = ("gaussian", "by-kind")


class Table(NamedTuple):
    """Rows to cluster; what is planted in them, if anything is; the kinds of their columns."""

    name: str
    x: np.ndarray
    types: np.ndarray | None
    n_clusters: int
    blocks: Sequence[Block]


def small(kind: str, seed: int, n_rows: int) -> Table:
    """Draw a small table."""
    rng = np.random.default_rng(seed)
    if kind == "D":
        return overlapping(rng, n_rows)
    group = rng.integers(0, 3, n_rows)

    def mixed(known: np.ndarray, tells: bool) -> np.ndarray:
        return np.where(tells & (rng.random(n_rows) < 0.9), known, rng.integers(0, 3, n_rows))

    frame = pd.DataFrame(
        {
            "age": (25 + 20 * group + rng.normal(0, 5, n_rows)).round(),
            "cost": rng.lognormal(5 + group, 0.3).round(2),
            "code": np.array(["C1", "C2", "C3"])[mixed(group, kind == "A")],
            "place": np.array(["P1", "P2", "P3"])[mixed(group, kind == "C")],
            "level": np.array(["low", "middle", "high"])[mixed(group, kind in "AC")],
            "sex": np.where(rng.random(n_rows) < (0.1 + 0.4 * group if kind == "B" else 0.5), "f", "m"),
            "flag": rng.random(n_rows) < (np.array([0.9, 0.1, 0.5])[group] if kind == "B" else 0.5),
        }
    )
    return planted(kind, frame, group)


def overlapping(rng: np.random.Generator, n_rows: int) -> Table:
    """Draw the table of `examples/scikit_learn.py`."""
    group = rng.choice(3, n_rows, p=[0.5, 0.3, 0.2])
    levels = np.array(["community", "secondary", "tertiary"])
    frame = pd.DataFrame(
        {
            "age": rng.normal(np.array([30, 55, 70])[group], 8),
            "cost": rng.lognormal(np.array([4.5, 5.5, 6.5])[group], 0.4),
            "chronic": (rng.random(n_rows) < np.array([0.05, 0.4, 0.8])[group]).astype(int),
            "level": levels[(group + (rng.random(n_rows) < 0.2)) % 3],
        }
    )
    return planted("D", frame, group)


def planted(kind: str, frame: pd.DataFrame, group: np.ndarray) -> Table:
    """Return a small table as the networks see it."""
    columns = learn(frame)
    return Table(f"small, {kind}", columns.encode(frame), group, 3, columns.blocks)


def tables(options: argparse.Namespace) -> Iterator[Table]:
    """Draw or read what was asked for."""
    for kind in "ABCD":
        for seed in options.small:
            yield small(kind, seed, options.small_rows)
    for seed in options.cohorts:
        cohort = quality.draw(options.rows, seed)
        types = cohort.frame["planted_type"].to_numpy()
        yield Table(f"district {seed}", cohort.x, types, 7, robust.blocks(STUDY_INPUTS))
    if options.visits is not None:
        x, inputs = visits.read(PaperSettings(visits=options.visits, mapping=options.mapping))
        x = x[np.random.default_rng(0).permutation(len(x))[: options.rows]]
        yield Table(options.visits.stem, x, None, 7, robust.blocks(inputs))


def measure(table: Table, likelihood: str, seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return how clusterings of several seeds agree with one another and with the types, by either way."""
    training = ROBUST.training.for_rows(len(table.x))  # as the estimator has it
    configuration = replace(ROBUST, likelihood=likelihood, training=training, linkage="average")
    answers: dict[str, list[np.ndarray]] = {"likeness": [], "chance": []}
    for seed in seeds:
        found = cluster(table.x, table.n_clusters, seed, configuration, blocks=table.blocks)
        n_labels = configuration.model.n_clusters
        how = {"linkage": configuration.linkage, "n_labels": n_labels}
        by_chance = consensus.agree(list(found.runs), table.n_clusters, seed, **how)
        answers["likeness"].append(found.labels)
        answers["chance"].append(by_chance.labels)
    lines = {}
    for how, labels in answers.items():
        lines[how] = {
            "agreement": float(stability.agreements(labels).mean()),
            "alive_least": min(map(health.alive, labels)),
        }
        if table.types is not None:
            lines[how]["ari"] = float(np.mean([adjusted_rand_score(table.types, one) for one in labels]))
    return lines


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Consensuses with and without the likeness of clusters.")
    parser.add_argument(
        "--small", type=int, nargs="*", default=[81, 82, 83], help="seeds of the small tables"
    )
    parser.add_argument("--small-rows", type=int, default=4_000)
    parser.add_argument("--cohorts", type=int, nargs="*", default=[203], help="seeds of simulated districts")
    parser.add_argument("--rows", type=int, default=100_000, help="of a district, and of --visits at most")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--visits", type=Path)
    parser.add_argument("--mapping", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []
    for table in tables(options):
        for likelihood in LIKELIHOODS:
            for how, found in measure(table, likelihood, options.seeds).items():
                about = {"table": table.name, "likelihood": likelihood, "joined_by": how}
                lines.append(about | found)
                print(lines[-1], flush=True)
    report.write("benchmarks/likeness.py", options, {"results": lines}, options.out)


if __name__ == "__main__":
    main()
