"""How well the planted types of the simulated district can be told apart at all, by who is shown them.

    .venv/bin/python benchmarks/ceiling.py --visits 1000000

Gradient boosting on the 38 inputs learns the types of half of the patients and names those of the others.
Its agreement is a ceiling for any clustering, which is shown no type: adjusted Rand index (ARI), and for
every type the share of its visits that were named right. Visits without a cost take part, as missing.
"""

import argparse
import json
import time

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import adjusted_rand_score

from jvade.data.district.draw import blocks
from jvade.data.district.inputs import inputs
from jvade.data.variables import STUDY_INPUTS


def classifier(rounds: int = 60) -> HistGradientBoostingClassifier:
    """Return what learns the types; `rounds` trees of each."""
    # Strong shrinkage: without it the leaves of rare types are unsteady, and the ceiling seems lower.
    return HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=0.2,
        min_samples_leaf=200,
        l2_regularization=200.0,
        early_stopping=False,  # pyright: ignore[reportArgumentType]
        random_state=0,
    )


def measure(n_visits: int, n_patients: int, seed: int, rounds: int) -> dict[str, object]:
    """Return the agreement of a classifier with the planted types of patients it has not seen."""
    begin = time.perf_counter()
    names = [variable.name for variable in STUDY_INPUTS]
    visits = pd.concat(
        [inputs(b)[[*names, "patient", "planted_type"]] for b in blocks(n_visits, n_patients, seed)]
    )
    x, types = np.asarray(visits[names], np.float32), np.asarray(visits["planted_type"])
    shown = np.random.default_rng(seed).random(n_patients + 1)[visits["patient"]] < 0.5
    named = classifier(rounds).fit(x[shown], types[shown]).predict(x[~shown])
    types = types[~shown]
    return {
        "visits": len(visits),
        "seed": seed,
        "rounds": rounds,
        "ari": float(adjusted_rand_score(types, named)),
        "accuracy": float(np.mean(named == types)),
        **{f"type {i} named right": float(np.mean(named[types == i] == i)) for i in range(1, 8)},
        "seconds": time.perf_counter() - begin,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Supervised ceiling of the simulated district.")
    parser.add_argument("--visits", type=int, default=1_000_000)
    parser.add_argument("--patients", type=int, help="default: as many visits per patient as in the study")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--rounds", type=int, default=60, help="trees per type")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    patients = options.patients or round(options.visits * 57 / 365)
    found = pd.DataFrame([measure(options.visits, patients, s, options.rounds) for s in options.seeds])
    if options.json:
        print(json.dumps(found.to_dict("records"), indent=2))
    else:
        print(found.T.to_string(float_format=lambda value: f"{value:,.3f}", header=False))


if __name__ == "__main__":
    main()
