"""Figures from tables, in one style; nothing is computed here."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e3e7eb"
#: Distinguishable with any of the common colour-vision deficiencies (Okabe & Ito 2008).
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#aa4499"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.dpi": 150,
    "svg.hashsalt": "jvade",
    "svg.fonttype": "none",
}


P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw under the one style."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inside


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _line_at(axes: Axes, x: float, text: str) -> None:
    """Mark one place of the horizontal axis, with words on the side where there is room."""
    axes.axvline(x, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    low, high = axes.get_xlim()
    side = "right" if x > (low + high) / 2 else "left"
    axes.annotate(
        text,
        (x, 1),
        (-4 if side == "right" else 4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha=side,
        va="top",
        color=MUTED,
        fontsize=8,
    )


def _label_ends(axes: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each line's name beside its last point, moved apart where two would overlap.

    Args:
        axes: where; its limits must be final.
        ends: name of a line to its last x, last y and colour.
    """
    low, high = axes.get_ylim()
    last = -np.inf
    for name, (x, y, color) in sorted(ends.items(), key=lambda item: item[1][1]):
        last = max(y, last + (high - low) * 0.06)
        axes.annotate(
            name,
            (x, last),
            (6, 0),
            textcoords="offset points",
            color=color,
            va="center",
            annotation_clip=False,
        )


@styled
def training_curves(history: pd.DataFrame, title: str, best_epoch: int) -> Figure:
    """Draw training and validation loss per epoch, the epoch that was kept marked (Figs 3 and 5).

    Args:
        history: columns epoch, train_loss, validation_loss (minus ELBO, nats per visit).
        title: what was trained.
        best_epoch: the epoch whose parameters were returned.
    """
    figure, axes = _axes(6.2, 3.2)
    ends = {}
    for column, name, color in (("train_loss", "training", BLUE), ("validation_loss", "validation", ORANGE)):
        axes.plot(history["epoch"], history[column], color=color, linewidth=1.6)
        ends[name] = (float(history["epoch"].iloc[-1]), float(history[column].iloc[-1]), color)
    axes.set(xlabel="epoch", ylabel="loss: minus ELBO, nats per visit", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _line_at(axes, best_epoch, f"kept: epoch {best_epoch}")
    _label_ends(axes, ends)
    return figure


@styled
def bic_curve(table: pd.DataFrame, published: int) -> Figure:
    """Draw BIC and ICL against the number of clusters, the lowest of each circled (Fig 4).

    Args:
        table: columns n_clusters, n_rows, bic, icl; lower is better.
        published: the study's number of clusters.
    """
    figure = Figure(figsize=(6.2, 4.2), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes, column, color in zip(panels, ("bic", "icl"), (BLUE, ORANGE), strict=True):
        values = table[column] / 1000
        best = int(np.nanargmin(values))
        axes.plot(table["n_clusters"], values, color=color, linewidth=1.6, marker="o", markersize=3.5)
        axes.plot(
            table["n_clusters"].iloc[best],
            values.iloc[best],
            "o",
            color=color,
            markersize=10,
            fillstyle="none",
            markeredgewidth=1.5,
        )
        axes.set_ylabel(f"{column.upper()}, thousands")
        axes.margins(y=0.15)
        _line_at(axes, published, f"published minimum of BIC: {published}" if column == "bic" else "")
    panels[-1].set_xlabel("number of clusters")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(
        f"Mixtures on the pretrained latents of {table['n_rows'].iloc[0]:,} visits; the lowest is circled",
        fontsize=10,
        fontweight="bold",
        x=0.01,
        ha="left",
    )
    return figure


@styled
def cross_rates(table: pd.DataFrame, published: pd.DataFrame | None, outcome: str) -> Figure:
    """Draw each cluster's cross rate against the overall rate, with its share of visits.

    Args:
        table: as `analysis.profiles.cross_rates` returns it; index cluster numbers, then "overall".
        published: the same of the study, drawn beside as hollow marks; None leaves them out.
        outcome: what crossing means, for the axis.
    """
    clusters = table.drop(index="overall").dropna(subset=["cross_rate"])
    overall = float(table.loc["overall", "cross_rate"])  # pyright: ignore[reportArgumentType]
    figure, axes = _axes(6.6, 0.36 * len(clusters) + 1.3)
    places = np.arange(len(clusters))
    colors = [ORANGE if rate > overall else BLUE for rate in clusters["cross_rate"]]
    axes.barh(places, clusters["cross_rate"], color=colors, height=0.62)
    axes.axvline(overall, color=INK, linewidth=1)
    note = f"│ all visits: {overall:.1f} %"
    if published is not None:
        rates = published.drop(index="overall")["cross_rate"].to_numpy(float)[: len(clusters)]
        axes.plot(rates, places[: len(rates)], "D", color=INK, markerfacecolor="white", markersize=5)
        note += "    ◇ published, other data, by rank"
    axes.text(0.99, 0.02, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
    # The numbers stand in a column of their own, where no bar or mark can reach them.
    column = axes.get_yaxis_transform()
    for place, (rate, share) in zip(
        places.tolist(), clusters[["cross_rate", "share"]].to_numpy(), strict=True
    ):
        axes.text(1.10, place, f"{rate:.1f} %", transform=column, ha="right", va="center")
        axes.text(1.24, place, f"{share:.1f} %", transform=column, ha="right", va="center", color=MUTED)
    head = {"transform": axes.transAxes, "ha": "right", "va": "bottom", "fontsize": 8, "color": MUTED}
    axes.text(1.10, 1.0, "cross rate", **head)
    axes.text(1.24, 1.0, "of visits", **head)
    axes.set_yticks(places, [f"cluster {name}" for name in clusters.index], color=INK)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{outcome}, % of the cluster's visits")
    axes.set_title("Who crosses: clusters by falling cross rate", pad=16)
    return figure


@styled
def profile_heatmap(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Draw the profiles as a heat map: values as text, shade by the log ratio to the overall mean (Table 7).

    Args:
        table: as `analysis.profiles.profile` returns it.
        labels: words for the variables.
    """
    columns = [name for name in table.columns if name.startswith("cluster")]
    values = table[columns].to_numpy(float)
    overall = table["overall"].to_numpy(float)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.clip(np.log2(values / overall), -2, 2)
    figure, axes = _axes(1.0 * len(columns) + 4.2, 0.235 * len(table) + 1.0)
    image = axes.imshow(np.ma.masked_invalid(ratio), cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto", alpha=0.8)
    names = [
        f"{labels.get(variable, variable)}, {'%' if unit.startswith('percent') else unit}"
        for variable, unit in zip(table["variable"], table["unit"], strict=True)
    ]
    axes.set_yticks(np.arange(len(table)), names, color=INK)
    axes.set_xticks(
        np.arange(len(columns) + 1), [name.removeprefix("cluster") for name in columns] + ["all"], color=INK
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xlim(-0.5, len(columns) + 0.5)
    for row, numbers in enumerate(np.hstack([values, overall])):
        for column, number in enumerate(numbers):
            strong = column < len(columns) and abs(np.nan_to_num(ratio[row, column])) > 1.6
            text = "-" if np.isnan(number) else f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.1f}"
            axes.text(
                column, row, text, ha="center", va="center", fontsize=8, color="white" if strong else INK
            )
    groups = table["group"].to_numpy()
    for row in np.flatnonzero(groups[1:] != groups[:-1]):
        axes.axhline(row + 0.5, color=INK, linewidth=0.8)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.35, aspect=30, pad=0.01)
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["¼", "½", "1", "2", "4"])
    bar.set_label("times the overall mean")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    axes.set_title("Cluster profiles, original units; clusters by falling cross rate", pad=22)
    return figure
