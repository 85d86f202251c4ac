"""Draw what `throughput.py` measured: seconds of an epoch against lanes, a line for each program.

    .venv/bin/python benchmarks/figure.py benchmarks/results/throughput.json

The picture lies beside the file, as PNG. Programs timed with one lane only have no line.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jvade.report.figures.style import BLUE, GREEN, MUTED, ORANGE, PURPLE, label_ends, styled

COLORS = {"jvade": BLUE, "tuned": ORANGE, "stacked": GREEN, "idiomatic": PURPLE}
TITLES = {"pretraining": "Pretraining (VAE)", "fine-tuning": "Fine-tuning (VaDE)"}


@styled
def draw(measured: dict[str, Any]) -> Figure:
    """Return a panel for each stage, both axes logarithmic, medians with the range of the repeats."""
    results, options = measured["results"], measured["options"]
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    panels = figure.subplots(1, len(options["stages"]), sharey=True, squeeze=False)[0]
    ends: list[dict[str, tuple[float, float, str]]] = []
    for axes, stage in zip(panels, options["stages"], strict=True):
        ends.append({})
        for name in options["programs"]:
            line = [one for one in results if one["stage"] == stage and one["program"] == name]
            lanes = [one["lanes"] for one in line]
            if len(lanes) == 1:
                continue
            color = COLORS.get(name, MUTED)
            least, medians, most = (
                [one["seconds"][which] / one["epochs"] for one in line]
                for which in ("least", "median", "most")
            )
            ranges = [np.subtract(medians, least), np.subtract(most, medians)]
            axes.errorbar(lanes, medians, ranges, color=color, linewidth=1.6, marker="o", markersize=3)
            ends[-1][name] = (lanes[-1], medians[-1], color)
        axes.set(xscale="log", yscale="log", title=TITLES[stage], xlabel="lanes")
        axes.set_xticks(options["lanes"], [str(n) for n in options["lanes"]], minor=False)
        axes.minorticks_off()
    for axes, labels in zip(panels, ends, strict=True):  # once the axis that they share is settled
        label_ends(axes, labels)
    panels[0].set_ylabel(f"seconds for an epoch of {options['visits']:,} visits")
    return figure


if __name__ == "__main__":
    path = Path(sys.argv[1])
    draw(json.loads(path.read_text(encoding="utf-8"))).savefig(path.with_suffix(".png"))
