"""Where EM should start: many short runs against few long ones from K-means, for about the same work.

    .venv/bin/python benchmarks/em_starts.py --visits admissions.parquet --mapping examples/datasus_sih.toml

Prints the mean log-likelihood per visit that each way reaches on the pretrained latents (higher is better),
for several seeds, and the seconds; scikit-learn's mixture is the way of K-means. Without --visits the
latents are those of a simulated district.
"""

import argparse
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from visits import matrix

from jvade.core import fit, gmm, lanes
from jvade.core.layout import take_lane
from jvade.core.settings import Architecture
from jvade.paper.settings import PaperSettings

SIZES, SEEDS, ROWS = range(2, 11), range(3), 20_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Starts of EM compared.")
    parser.add_argument("--visits", type=Path)
    parser.add_argument("--mapping", type=Path)
    options = parser.parse_args()
    settings = PaperSettings(visits=options.visits, mapping=options.mapping)
    x = matrix(settings)
    architecture = Architecture(x.shape[1])
    stack = lanes.stack([settings.seed], settings.model)
    pretrained = lanes.train(
        x, lanes.init(stack, architecture), stack, "pretraining", architecture, settings.training
    )
    placed = fit.assign(take_lane(pretrained.params, 0), x, take_lane(stack, 0), architecture)
    z = np.asarray(placed.latents)[np.asarray(fit.subset(jax.random.key(0), len(x), ROWS))]

    bounds: dict[str, list[np.ndarray]] = {"short runs": [], "K-means, 5 restarts": []}
    seconds = dict.fromkeys(bounds, 0.0)
    gmm.fit(
        jax.random.key(0), jnp.asarray(z), list(SIZES)
    )  # compiled here, so that the times are of the work
    for seed in SEEDS:
        begin = time.perf_counter()
        found = gmm.fit(jax.random.key(seed), jnp.asarray(z), list(SIZES))
        bounds["short runs"].append(np.asarray(found.lower_bound))
        seconds["short runs"] += time.perf_counter() - begin
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            models = [
                GaussianMixture(
                    k, covariance_type="diag", n_init=5, tol=1e-5, max_iter=200, random_state=seed
                ).fit(z.astype(np.float64))
                for k in SIZES
            ]
        bounds["K-means, 5 restarts"].append(np.array([model.score(z) for model in models]))
        seconds["K-means, 5 restarts"] += time.perf_counter() - begin

    print(f"{'clusters':<34}" + "".join(f"{k:>8}" for k in SIZES))
    for name, found in bounds.items():
        for seed, row in zip(SEEDS, found, strict=True):
            print(f"{name + f', seed {seed}':<34}" + "".join(f"{value:8.3f}" for value in row))
        print(f"{name}: {seconds[name] / len(SEEDS):.1f} s a seed")


if __name__ == "__main__":
    main()
