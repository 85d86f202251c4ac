"""Write the model file of today's format that later versions have to read.

    PYTHONPATH=src .venv/bin/python tests/estimator/write_model.py

Run once, when the format is new: what it wrote is committed and stays as it is.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from small import SMALL

import jvade
from jvade import ROBUST, model_file

FOLDER = Path(__file__).parent / "models"


def main() -> None:
    """Fit three groups of rows with all that the format knows; write the model and what it says of rows."""
    rng = np.random.default_rng(model_file.FORMAT)
    group = rng.integers(0, 3, 400)
    table = pd.DataFrame(
        {
            "a": rng.normal(6.0 * group, 1.0).round(2),
            "b": rng.normal(-4.0 * group, 1.0).round(2),
            "flag": (rng.random(400) < np.array([0.1, 0.5, 0.9])[group]).astype(int),
            "c": np.array(["x", "y", "z"])[group],
        }
    )
    model = jvade.VaDE(
        3,
        n_init=3,
        n_components=4,
        latent_dim=2,
        configuration=replace(
            ROBUST,
            model=ROBUST.model._replace(
                warmup_epochs=2,
                mixture_rate=0.5,
                annealing_cycles=2,
                pretraining_kl_weight=0.5,
                occupancy_floor=0.1,
                repulsion=0.5,
                balance=0.4,
            ),
            responsibilities="quadrature",
            covariance_type="full",
        ),
        likelihood="by-kind",
        noise="by-column",
        random_state=0,
        **{**SMALL, "widths": (8,)},
    ).fit(table)
    rows = table.head(12)
    path = FOLDER / f"format{model_file.FORMAT}.jvade"
    if path.exists():
        raise SystemExit(f"{path.name} is there: it stays as it is")
    jvade.save(model, path)
    model_file.card_path(path).unlink()
    says = {
        "rows": rows.to_dict("list"),
        "memberships": model.predict_proba(rows).tolist(),
        "latents": model.transform(rows).tolist(),
        "scores": model.score_samples(rows).tolist(),
    }
    path.with_suffix(".json").write_text(json.dumps(says, indent=1) + "\n")


if __name__ == "__main__":
    main()
