"""Tables for which K-Means is the right method: round groups of numbers. What `robust` makes of them.

    .venv/bin/python benchmarks/plain.py --out benchmarks/results/plain.json

Two kinds, drawn several times. "single": three groups of 1:1:2, told apart by two columns, four standard
deviations each, beside columns of noise; no other column says again what one of them says. "shared": five
groups about centers drawn with 1.5 standard deviations in each of eight columns. Judged is the agreement with
the groups drawn, as the mean of the draws. `VaDE` has smaller batches for so few rows.
"""

import argparse
from pathlib import Path

import numpy as np
import report
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from jvade import VaDE
from jvade.analysis import comparison


def draw(kind: str, seed: int, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised rows and their groups."""
    rng = np.random.default_rng(seed)
    if kind == "single":
        groups = rng.choice(3, n_rows, p=[0.25, 0.25, 0.5])
        centers = np.zeros((3, 6))
        centers[:2, 0], centers[0, 1] = 4, 4
    else:
        groups = rng.integers(0, 5, n_rows)
        centers = 1.5 * rng.normal(size=(5, 8))
    x = centers[groups] + rng.normal(size=(n_rows, centers.shape[1]))
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32), groups


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Round groups of numbers: robust beside K-Means.")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for kind in ("single", "shared"):
        for seed in range(options.draws):
            x, groups = draw(kind, seed, options.rows)
            k = len(np.unique(groups))
            answers = {
                "K-Means": comparison.kmeans(x, k, seed),
                "GMM": GaussianMixture(k, random_state=seed).fit_predict(x),
                "VaDE, robust": VaDE(k, random_state=seed).fit_predict(x),
            }
            for name, labels in answers.items():
                each = found.setdefault(kind, {}).setdefault(name, [])
                each.append(float(adjusted_rand_score(groups, labels)))
            print(kind, {name: values[-1] for name, values in found[kind].items()}, flush=True)
    report.write("benchmarks/plain.py", options, {"ari": found}, options.out)


if __name__ == "__main__":
    main()
