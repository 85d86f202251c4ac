"""How much of a clustering another seed changes (section 3.5)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jvade.report.figures.style import BLUE, INK, MUTED, one_axes, styled

PANELS = 3  # beside each other


@styled
def agreement(ari: np.ndarray, seeds: Sequence[int]) -> Figure:
    """Draw the adjusted Rand index of each pair of runs.

    Args:
        ari: as `analysis.stability.pairwise_ari` returns it.
        seeds: of the runs, in the same order.
    """
    figure, axes = one_axes(0.62 * len(seeds) + 2.6, 0.52 * len(seeds) + 1.4)
    image = axes.imshow(ari, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*ari.shape):
        value = ari[row, column]
        color = "white" if value > 0.6 else INK
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
    names, places = [str(seed) for seed in seeds], np.arange(len(seeds))
    axes.set_xticks(places, names, color=INK)
    axes.set_yticks(places, names, color=INK)
    axes.set(xlabel="seed", ylabel="seed")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, aspect=25, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0, chance", "0.5", "1, the same"])
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    figure.suptitle(
        "Agreement of runs: adjusted Rand index", fontsize=10, fontweight="bold", x=0.01, ha="left"
    )
    return figure


@styled
def spread(table: pd.DataFrame, variables: Sequence[str], labels: Mapping[str, str]) -> Figure:
    """Draw the means of clusters over runs, a bar of one standard deviation to either side.

    Args:
        table: as `analysis.stability.spread` returns it.
        variables: those to draw, a panel each.
        labels: words for the variables.
    """
    table = table.loc[table["variable"].isin(variables)]
    names = np.unique(table["cluster"]).tolist()
    runs = table["runs"].to_numpy()
    columns = min(PANELS, len(variables))
    rows = -(-len(variables) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, rows * (0.24 * len(names) + 1.1) + 0.7))
    figure.set_layout_engine("constrained", hspace=0.06, wspace=0.1)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, variable in zip(panels, variables, strict=False):
        _panel(axes, table.loc[table["variable"] == variable], names, runs.max())
        axes.set_title(labels.get(variable, variable), fontsize=9)
    for axes in panels[len(variables) :]:
        axes.set_visible(False)
    panels[0].set_yticks(np.arange(len(names)), [f"cluster {name}" for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    head = {"fontsize": 10, "fontweight": "bold", "x": 0.01, "ha": "left"}
    figure.suptitle(f"Clusters over {runs.max()} runs: mean ± 1 standard deviation", **head)
    if runs.min() < runs.max():
        figure.supxlabel("○ not in every run", fontsize=8, color=MUTED, x=0.99, ha="right")
    return figure


def _panel(axes: Axes, table: pd.DataFrame, names: list[int], most: int) -> None:
    """Draw one variable; hollow where fewer runs than most have a number, nothing where none has."""
    mean, sd = table[["mean", "sd"]].to_numpy(float).T
    places, runs = np.searchsorted(names, table["cluster"]), table["runs"].to_numpy()
    bars = {"fmt": "o", "color": BLUE, "markersize": 5, "capsize": 3}
    for fill, some in (("white", (runs > 0) & (runs < most)), (BLUE, runs == most)):
        axes.errorbar(mean[some], places[some], xerr=sd[some], markerfacecolor=fill, **bars)
    unit = "" if table.empty else str(table["unit"].iloc[0])
    axes.set_xlabel("%" if unit == "percent" else unit.replace("percent", "%"))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
