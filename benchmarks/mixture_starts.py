"""What the mixture of VaDE should start from: posterior means or draws, judged without labels.

    .venv/bin/python benchmarks/mixture_starts.py --seeds 1 2 3

Trains every seed from the same pretraining with each start, as lanes, on a simulated district of 200,000
visits (or --visits and --mapping), and prints the held-out loss (minus ELBO, nats per visit, lower is better)
and the number of clusters that hold visits.
"""

import argparse
from pathlib import Path

import numpy as np
from visits import matrix

from jvade.core import fit, lanes
from jvade.core.fit import MixtureStart
from jvade.core.layout import take_lane
from jvade.core.settings import Architecture
from jvade.paper.settings import PaperSettings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Starts of the mixture compared.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--visits", type=Path)
    parser.add_argument("--mapping", type=Path)
    options = parser.parse_args()
    settings = PaperSettings(visits=options.visits, mapping=options.mapping)
    x = matrix(settings)
    architecture = Architecture(x.shape[1])
    stack = lanes.stack(options.seeds, settings.model)
    params = lanes.init(stack, architecture)
    training = settings.training
    pretrained = lanes.train(x, params, stack, "pretraining", architecture, training)
    for latents in ("means", "samples"):
        start = fit.start_mixtures(
            pretrained.params, x, stack, architecture, training, MixtureStart(latents=latents)
        )
        begin = pretrained.params._replace(mixture=fit.mixtures(start))
        trained = lanes.train(x, begin, stack, "fine-tuning", architecture, training)
        for i, seed in enumerate(options.seeds):
            placed = fit.assign(take_lane(trained.params, i), x, take_lane(stack, i), architecture)
            alive = len(np.unique(np.argmax(placed.responsibilities, axis=1)))
            print(
                f"{latents:8} seed {seed}: held-out loss {float(trained.best_loss[i]):.3f}, "
                f"{alive} clusters hold visits",
                flush=True,
            )


if __name__ == "__main__":
    main()
