"""How fast EM runs against scikit-learn's, from equal starts, the same number of iterations each.

    .venv/bin/python benchmarks/em.py --out benchmarks/results/em.json

Both start every mixture at the same rows as means, with equal weights and the variances of the whole, and
take 20 iterations of diagonal EM on the same points: seven unequal clusters and a wide background. A repeat
times both, one after the other; times are sums over the numbers of clusters and the restarts. The likelihoods
reached must agree. Compilation is timed apart.
"""

import argparse
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import report
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from jvade.core import em, mixture
from jvade.core.em import Components
from jvade.core.layout import over_lanes, stack_lanes

ITERATIONS = 20


def points(n_rows: int, n_latents: int, seed: int = 0) -> np.ndarray:
    """Draw points of seven unequal clusters and a wide background."""
    rng = np.random.default_rng(seed)
    centers, scales = rng.normal(scale=2, size=(8, n_latents)), rng.uniform(0.1, 1.0, (8, n_latents))
    scales[7] = 3.0
    which = rng.choice(8, n_rows, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.02, 0.05])
    return (centers[which] + scales[which] * rng.normal(size=(n_rows, n_latents))).astype(np.float32)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="EM against scikit-learn, from equal starts.")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--latents", type=int, default=2)
    parser.add_argument("--clusters", type=int, nargs="+", default=list(range(2, 31)))
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # 20 iterations are what is asked for

    z = points(options.rows, options.latents)
    on_device, rng = jnp.asarray(z), np.random.default_rng(1)
    starts = [
        z[rng.choice(len(z), k, replace=False)] for k in options.clusters for _ in range(options.restarts)
    ]
    widest, variances = max(options.clusters), z.var(axis=0)

    def one(z: jax.Array, start: Components, n_clusters: jax.Array) -> em.GmmFit:
        return em.fit(z, start, n_clusters, options.latents, max_iter=ITERATIONS, tol=0.0)

    # As `gmm.fit` runs its mixtures: lanes, as many at a time as there are cores.
    ours = over_lanes(one, (None, 0, 0))

    def padded(means: np.ndarray) -> tuple[Any, np.ndarray]:
        k = len(means)
        log_weights = np.where(np.arange(widest) < k, -np.log(k), mixture.NEVER).astype(np.float32)
        wide = np.pad(means, ((0, widest - k), (0, 0)))
        return Components(log_weights, wide, np.tile(variances, (widest, 1))), np.asarray(k)  # pyright: ignore[reportArgumentType]

    def theirs(means: np.ndarray) -> GaussianMixture:
        k = len(means)
        return GaussianMixture(
            k,
            covariance_type="diag",
            weights_init=np.full(k, 1 / k),
            means_init=means,
            precisions_init=np.tile(1 / variances, (k, 1)),
            init_params="random_from_data",
            max_iter=ITERATIONS,
            tol=0.0,
            random_state=0,
        ).fit(z)

    arguments = stack_lanes([padded(means) for means in starts])
    alone = jax.tree.map(lambda leaf: leaf[:1], arguments)
    begin = time.perf_counter()
    jax.block_until_ready(ours(on_device, *alone, layout="auto"))
    first = time.perf_counter() - begin
    seconds: dict[str, list[float]] = {"jvade": [], "scikit-learn": []}
    worst = 0.0
    for _ in range(options.repeats):
        begin = time.perf_counter()
        mine = np.asarray(ours(on_device, *arguments, layout="auto").lower_bound)
        middle = time.perf_counter()
        others = [theirs(means) for means in starts]
        end = time.perf_counter()
        seconds["jvade"].append(middle - begin)
        seconds["scikit-learn"].append(end - middle)
        worst = max(abs(float(a) - b.score(z)) for a, b in zip(mine, others, strict=True))
    report.write(
        "benchmarks/em.py",
        options,
        {
            "seconds": {name: report.spread(values) for name, values in seconds.items()},
            "compile_seconds": first,
            "times_as_fast": statistics.median(seconds["scikit-learn"]) / statistics.median(seconds["jvade"]),
            "largest_difference_in_mean_log_likelihood": worst,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
