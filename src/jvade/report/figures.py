"""Figures from tables, in one style; nothing is computed here."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e3e7eb"
#: Distinguishable with any of the common colour-vision deficiencies (Okabe & Ito 2008).
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#aa4499"

STYLE = {
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


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def _label_ends(axes: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each line's name at its last point, moved apart where two would overlap."""
    low, high = axes.get_ylim()
    step = (high - low) * 0.055
    last = -np.inf
    for name, (x, y, color) in sorted(ends.items(), key=lambda item: item[1][1]):
        place = max(y, last + step)
        axes.annotate(
            name, (x, y), (x, place), color=color, va="center", textcoords="data", xycoords="data",
            annotation_clip=False,
        ).set_x(x + 0.015 * float(np.diff(axes.get_xlim())[0]))
        last = place


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
    axes.axvline(best_epoch, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate(
        f"kept: epoch {best_epoch}", (best_epoch, 1), (-4, -2), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right", va="top", color=MUTED, fontsize=8,
    )
    _label_ends(axes, ends)
    return figure


def bic_curve(table: pd.DataFrame, published: int) -> Figure:
    """Draw BIC and ICL against the number of clusters, the lowest of each marked (Fig 4).

    Args:
        table: columns n_clusters, bic, icl; lower is better.
        published: the study's number of clusters.
    """
    figure, axes = _axes(6.2, 3.2)
    ends = {}
    for column, color in (("bic", BLUE), ("icl", ORANGE)):
        values = table[column] / 1000
        axes.plot(table["n_clusters"], values, color=color, linewidth=1.6, marker="o", markersize=3.5)
        best = int(np.argmin(values))
        axes.plot(table["n_clusters"].iloc[best], values.iloc[best], "o", color=color, markersize=9,
                  fillstyle="none", markeredgewidth=1.5)
        ends[column.upper()] = (float(table["n_clusters"].iloc[-1]), float(values.iloc[-1]), color)
    axes.axvline(published, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate(
        f"published minimum: {published}", (published, 1), (-4, -2), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right", va="top", color=MUTED, fontsize=8,
    )
    axes.set(
        xlabel="number of clusters", ylabel="criterion, thousands (lower is better)",
        title="Mixture on the pretrained latents: circles mark the lowest",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label_ends(axes, ends)
    return figure


def cross_rates(table: pd.DataFrame, published: pd.DataFrame | None, outcome: str) -> Figure:
    """Draw each cluster's cross rate against the overall rate, with its share of visits.

    Args:
        table: as `analysis.profiles.cross_rates` returns it; index cluster numbers, then "overall".
        published: the same of the study, drawn beside as hollow marks; None leaves them out.
        outcome: what crossing means, for the axis.
    """
    clusters = table.drop(index="overall").dropna(subset=["cross_rate"])
    overall = float(table.loc["overall", "cross_rate"])  # pyright: ignore[reportArgumentType]
    figure, axes = _axes(6.6, 0.42 * len(clusters) + 1.3)
    places = np.arange(len(clusters))
    colors = [ORANGE if rate > overall else BLUE for rate in clusters["cross_rate"]]
    axes.barh(places, clusters["cross_rate"], color=colors, height=0.62)
    axes.axvline(overall, color=INK, linewidth=1)
    top = float(clusters["cross_rate"].max())
    if published is not None:
        rates = published.drop(index="overall")["cross_rate"].to_numpy()[: len(clusters)]
        axes.plot(rates, places[: len(rates)], "D", color=INK, fillstyle="none", markersize=5)
        top = max(top, float(np.max(rates)))
        overall_published = float(published.loc["overall", "cross_rate"])  # pyright: ignore[reportArgumentType]
        note = f"◇ published (other data; overall {overall_published:.1f} %)"
        axes.annotate(note, (1, 0), (0, -30), xycoords="axes fraction", textcoords="offset points",
                      ha="right", va="top", color=MUTED, fontsize=8)
    for place, (rate, share) in zip(places, clusters[["cross_rate", "share"]].to_numpy(), strict=True):
        axes.annotate(
            f"{rate:.1f} %   ({share:.1f} % of visits)", (rate, place), (9, 0), textcoords="offset points",
            va="center", fontsize=8,
        )
    axes.annotate(
        f"overall {overall:.1f} %", (overall, 0), (4, 6), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=8, va="bottom",
    )
    axes.set_yticks(places, [f"cluster {name}" for name in clusters.index])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, top * 1.42), xlabel=f"{outcome}, % of the cluster's visits",
             title="Who crosses: clusters by falling cross rate")
    return figure


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
            text = "–" if np.isnan(number) else f"{number:,.0f}" if abs(number) >= 100 else f"{number:.1f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if strong else INK)
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
