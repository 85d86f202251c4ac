"""What the latents mean: decoded traversals (Fig 2) and maps of the plane they span."""

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jvade.report.drawing import CORNERS, PALETTE, cluster_color
from jvade.report.figures.style import GRID, HALO, INK, MUTED, one_axes, styled

#: Thin lines of the inputs that are not named; panels side by side.
OTHERS, PER_ROW = "#c9d0d6", 3
#: The faintest that a hexagon is drawn, of 1.
FAINTEST = 0.15


@styled
def traversal(table: pd.DataFrame, labels: Mapping[str, str], moved: int = 7) -> Figure:
    """Draw what the decoder makes of each latent as it moves, a panel per latent (Fig 2).

    Args:
        table: as `analysis.latents.traversal` returns it.
        labels: words for the variables.
        moved: how many inputs are named in each panel, those that move most; the others are thin and grey.
    """
    curves = {latent: _curves(part, "standardised") for latent, part in table.groupby("latent", sort=False)}
    named = {latent: _most_moved(lines, moved) for latent, lines in curves.items()}
    colors = _line_colors(named.values())
    columns = min(len(curves), PER_ROW)
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(max(4.5 * columns, 6.2), 3.5 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    limits = _limits(np.concatenate([lines.to_numpy().ravel() for lines in curves.values()]))
    for axes, (latent, lines) in zip(panels.flat, curves.items(), strict=False):
        for name in lines.columns.difference(named[latent], sort=False):
            axes.plot(lines.index, lines[name], color=OTHERS, linewidth=0.7)
        _named_lines(axes, lines.loc[:, named[latent]], limits, labels, colors, gap=0.085)
        axes.set_xlabel(f"{latent}, the other latents at their mean" if len(curves) > 1 else latent)
    for axes in panels[:, 0]:
        axes.set_ylabel("decoded input, standard deviations\n(0/1 inputs: as they are)")
    for axes in panels.flat[len(curves) :]:
        axes.set_axis_off()
    _head(figure, f"Decoded inputs as one latent moves; the {moved} that move most are named")
    return figure


@styled
def traversal_units(table: pd.DataFrame, numeric: Mapping[str, str], labels: Mapping[str, str]) -> Figure:
    """Draw the traversal in original units, a column per latent (the first 3), a row per numeric input.

    The last row holds the five 0/1 inputs that move most with each latent.

    Args:
        table: as `analysis.latents.traversal` returns it.
        numeric: unit of each numeric input.
        labels: words for the variables.
    """
    parts = list(table.groupby("latent", sort=False))[:PER_ROW]
    curves = {latent: _curves(part, "original") for latent, part in parts}
    flags = {latent: 100 * lines.drop(columns=list(numeric)) for latent, lines in curves.items()}
    named = {latent: _most_moved(lines, 5) for latent, lines in flags.items()}
    colors = _line_colors(named.values())
    figure = Figure(figsize=(max(4.3 * len(curves), 6.2), 1.25 * len(numeric) + 2.9), layout="constrained")
    panels = figure.subplots(
        len(numeric) + 1,
        len(curves),
        squeeze=False,
        sharex=True,
        sharey="row",
        height_ratios=[*[1.0] * len(numeric), 1.9],
    )
    for row, (name, unit) in zip(panels, numeric.items(), strict=False):
        for axes, lines in zip(row, curves.values(), strict=True):
            axes.plot(lines.index, lines[name], color=PALETTE[0], linewidth=1.6)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        row[0].set_title(f"{labels.get(name, name)}, {unit}", fontsize=9, fontweight="normal")
    chosen = [flags[latent][names].to_numpy().ravel() for latent, names in named.items()]
    limits = _limits(np.concatenate(chosen))
    for axes, (latent, names) in zip(panels[-1], named.items(), strict=True):
        _named_lines(axes, flags[latent].loc[:, names], limits, labels, colors, gap=0.14)
        axes.set_xlabel(f"{latent}, the other latents at their mean" if len(curves) > 1 else latent)
    panels[-1, 0].set_title(
        "The five 0/1 inputs that move most, % of visits", fontsize=9, fontweight="normal"
    )
    _head(figure, "Decoded inputs as one latent moves, original units")
    return figure


def _curves(part: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a column per input against the value of the latent, in the order of the table."""
    wide = part.pivot(index="value", columns="variable", values=column)
    return wide.reindex(columns=part["variable"].unique())


def _most_moved(lines: pd.DataFrame, count: int) -> list[str]:
    """Return the inputs whose lines span most, the widest first."""
    spans = lines.max() - lines.min()
    return [str(name) for name in spans.sort_values(ascending=False, kind="stable").index[:count]]


def _line_colors(panels: Collection[list[str]]) -> dict[str, str]:
    """Return a colour for each named input, the same in every panel, different within one."""
    colors: dict[str, str] = {}
    for names in panels:
        taken = [colors[name] for name in names if name in colors]
        spread = list(colors.values())
        free = sorted((color for color in PALETTE if color not in taken), key=spread.count)
        fresh = [name for name in names if name not in colors]
        colors |= dict(zip(fresh, cycle(free or PALETTE), strict=False))
    return colors


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _named_lines(
    axes: Axes,
    lines: pd.DataFrame,
    limits: tuple[float, float],
    labels: Mapping[str, str],
    colors: Mapping[str, str],
    gap: float,
) -> None:
    """Draw lines, each joined to its name on the right; `gap` between names is a part of the height."""
    values = lines.index.to_numpy(float)
    end = values[-1]
    axes.set_xlim(values[0], end)
    axes.set_ylim(*limits)
    last = lines.iloc[-1].sort_values(kind="stable")
    apart = gap * (limits[1] - limits[0])
    places = _spread(last.to_numpy(), apart, limits[0] + apart / 2, limits[1] - apart / 2)
    for name in reversed(lines.columns):
        axes.plot(values, lines[name], color=colors[name], linewidth=1.6)
    for (name, y), place in zip(last.items(), places, strict=True):
        axes.annotate(
            labels.get(str(name), str(name)),
            (end, y),
            xytext=(1.07, place),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": colors[str(name)], "linewidth": 1,
                "shrinkA": 3, "shrinkB": 0, "relpos": (0, 0.5), "patchA": None,
            },
        )  # fmt: skip


def _spread(values: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Return ascending values moved as little as it takes to be `gap` apart, between the limits."""
    steps = gap * np.arange(len(values))
    # Less their steps they need only ascend: neighbours that do not are pooled at their mean.
    pools: list[tuple[float, int]] = []
    for value in (values - steps).tolist():
        mean, size = value, 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        pools.append((mean, size))
    level = np.repeat([mean for mean, _ in pools], [size for _, size in pools])
    return np.clip(level, low, max(low, high - steps[-1])) + steps


@styled
def latent_map(
    hexagons: pd.DataFrame,
    ellipses: pd.DataFrame,
    share_drawn: float,
    min_patients: int,
    axis_names: tuple[str, str] = ("z1", "z2"),
) -> Figure:
    """Draw which cluster's visits lie where on the plane of the latents, and the mixture over them.

    Args:
        hexagons: as `analysis.latents.hexagons` returns them.
        ellipses: as `analysis.latents.ellipses` returns them, with the number of each cluster in `label`;
            NaN where the cluster is dead: dashed, without a number.
        share_drawn: percent of visits that lie in the hexagons.
        min_patients: fewest in a hexagon.
        axis_names: of the plane.
    """
    x, y = _map_limits(hexagons, ellipses)
    figure, axes = one_axes(6.2, 5.0 * _stretch(x, y) + 1.3)
    colors = [to_rgba(cluster_color(number)) for number in hexagons["cluster"]]
    opacity = np.clip(hexagons["cluster_share"].to_numpy(float) / 100, FAINTEST, 1)
    faces = [(*color[:3], alpha) for color, alpha in zip(colors, opacity.tolist(), strict=True)]
    axes.add_collection(PolyCollection(_corners(hexagons), facecolors=faces, edgecolors="none"))
    for row in ellipses.to_dict("records"):
        style = (0, (4, 3)) if np.isnan(row["label"]) else "solid"
        for deviations, width in ((1, 1.2), (2, 0.7)):
            shape = Ellipse(
                (row["x"], row["y"]),
                2 * deviations * row["width"],
                2 * deviations * row["height"],
                angle=row["angle"],
                fill=False,
                edgecolor=INK,
                linewidth=width,
                linestyle=style,
            )
            axes.add_patch(shape)
    _frame(axes, x, y, axis_names)
    alive = ellipses.dropna(subset="label")
    on_map = (alive["x"].between(*x) & alive["y"].between(*y)).to_numpy(bool)
    _numbers(axes, alive.loc[on_map], 0.055 * (x[1] - x[0]))
    axes.set_title("Clusters on the latents, by number")
    beyond = ", ".join(f"{label:.0f}" for label in alive.loc[~on_map, "label"])
    notes = ["colour: most frequent cluster; the paler, the smaller its share of the visits"]
    dead = "; dashed: no visits left" if len(alive) < len(ellipses) else ""
    notes += [f"ellipses: 1 and 2 standard deviations of the mixture's clusters{dead}"]
    notes += [_footnote(hexagons, share_drawn, min_patients)]
    notes += [f"centers beyond the map: cluster {beyond}"] if beyond else []
    _foot(figure, "\n".join(notes))
    return figure


@styled
def latent_measures(
    hexagons: pd.DataFrame,
    measures: Sequence[tuple[str, str, str]],
    share_drawn: float,
    min_patients: int,
    axis_names: tuple[str, str] = ("z1", "z2"),
    log: Collection[str] = ("cost",),
) -> Figure:
    """Draw the mean of some measures over the plane of the latents, a panel each.

    Args:
        hexagons: as `analysis.latents.hexagons` returns them; pale grey where a measure is NaN.
        measures: column, title and unit of each.
        share_drawn: percent of visits that lie in the hexagons.
        min_patients: fewest in a hexagon, and behind a mean.
        axis_names: of the plane.
        log: columns whose colours follow the logarithm.
    """
    x, y = _map_limits(hexagons, None)
    rows = -(-len(measures) // 2)
    figure = Figure(figsize=(8.4, rows * (3.0 * _stretch(x, y) + 0.6) + 0.6), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey=True)
    for axes, (column, title, unit) in zip(panels.flat, measures, strict=False):
        _shaded(axes, hexagons, column, unit, column in log)
        _frame(axes, x, y, axis_names)
        axes.set_title(title)
        axes.label_outer()
    for axes in panels.flat[len(measures) :]:
        axes.set_axis_off()
    _foot(figure, _footnote(hexagons, share_drawn, min_patients))
    return figure


def _shaded(axes: Axes, hexagons: pd.DataFrame, column: str, unit: str, log: bool) -> None:
    """Draw the hexagons in the shade of their mean, with a bar that says what the shades are."""
    values = np.ma.masked_invalid(hexagons[column].to_numpy(float))
    values = np.ma.masked_less_equal(values, 0) if log else values
    blank = np.ma.getmaskarray(values)
    axes.add_collection(PolyCollection(_corners(hexagons.loc[blank]), facecolors=GRID, edgecolors="none"))
    if blank.all():
        return
    low, high = float(values.min()), float(values.max())
    shades = PolyCollection(_corners(hexagons.loc[~blank]), cmap="viridis", edgecolors="none")
    shades.set_array(values.compressed())
    shades.set_norm((LogNorm if log else Normalize)(low, high if high > low else low + abs(low) / 10 or 1.0))
    axes.add_collection(shades)
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(shades, ax=axes, aspect=28, pad=0.02, fraction=0.06)
    if log:
        wide = high > 10 * low
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(5))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _corners(hexagons: pd.DataFrame) -> list[np.ndarray]:
    """Return the corners of each hexagon, a row per corner."""
    centers = hexagons[["x", "y"]].to_numpy(float)[:, None]
    return list(centers + hexagons["radius"].to_numpy(float)[:, None, None] * CORNERS)


def _map_limits(
    hexagons: pd.DataFrame, ellipses: pd.DataFrame | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return what the map spans: its hexagons, or the ellipses where there is no hexagon."""
    corners = np.array(_corners(hexagons)).reshape(-1, 2)
    if len(corners) == 0 and ellipses is not None and len(ellipses):
        reach = 2 * ellipses[["width"]].to_numpy(float)
        centers = ellipses[["x", "y"]].to_numpy(float)
        corners = np.concatenate([centers - reach, centers + reach])
    corners = corners if len(corners) else np.array([[-3.0, -3.0], [3.0, 3.0]])
    return _limits(corners[:, 0]), _limits(corners[:, 1])


def _stretch(x: tuple[float, float], y: tuple[float, float]) -> float:
    """Return the height of the map over its width, within what a page holds."""
    return float(np.clip((y[1] - y[0]) / (x[1] - x[0]), 0.35, 1.4))


def _frame(axes: Axes, x: tuple[float, float], y: tuple[float, float], axis_names: tuple[str, str]) -> None:
    """Give both axes one scale, so that hexagons are regular."""
    axes.set(xlim=x, ylim=y, xlabel=axis_names[0], ylabel=axis_names[1])
    axes.set_aspect("equal")
    axes.grid(visible=False)


def _numbers(axes: Axes, clusters: pd.DataFrame, gap: float) -> None:
    """Write each cluster's number at its center, moved away and joined to it where two would overlap."""
    centers = clusters[["x", "y"]].to_numpy(float)
    for label, center, place in zip(clusters["label"], centers, _apart(centers, gap), strict=True):
        if np.hypot(*(place - center)) > gap / 3:
            axes.plot(*np.stack([center, place]).T, color=INK, linewidth=0.8)
            axes.plot(*center, "o", color=INK, markersize=2.5)
        axes.text(
            place[0],
            place[1],
            f"{label:.0f}",
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            path_effects=HALO,
        )


def _apart(points: np.ndarray, gap: float) -> np.ndarray:
    """Return points pushed away from each other until they are `gap` apart, or nearly."""
    turn = 2 * np.pi * np.arange(len(points)) / max(len(points), 1)
    # Points in one place need a direction to part in.
    places = points + 1e-3 * gap * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for _ in range(200):
        away = places[:, None] - places[None]
        distance = np.hypot(away[..., 0], away[..., 1])
        np.fill_diagonal(distance, np.inf)
        push = np.clip(gap - distance, 0, None) / 2 / distance
        places = places + (push[..., None] * away).sum(axis=1)
    return places


def _footnote(hexagons: pd.DataFrame, share_drawn: float, min_patients: int) -> str:
    who = "visits" if bool(hexagons["patients"].isna().to_numpy().any()) else "patients"
    return f"each hexagon holds at least {min_patients} {who}; {share_drawn:.1f} % of visits drawn"


def _head(figure: Figure, title: str) -> None:
    figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, ha="left")


def _foot(figure: Figure, text: str) -> None:
    figure.supxlabel(text, fontsize=8, color=MUTED, x=0.01, ha="left")
