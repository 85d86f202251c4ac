"""The pictures of the report, as SVG: flows, map, traversals. Text comes in every language of the report."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
from markupsafe import Markup

from jvade.report.drawing import CORNERS, PALETTE, cluster_color

INK, MUTED, PALE = "#1f2933", "#52606d", "#e4e8ec"
#: White around letters, so that they are read on any colour.
HALO = ' paint-order="stroke" stroke="#fff" stroke-width="3" stroke-linejoin="round"'
#: Colours of the destinations: home first, in grey.
HOME_COLOR = "#aab4bd"
#: A text in each language, and what writes it.
Text = Mapping[str, str]
Say = Callable[[Text], Markup]


def _svg(width: float, height: float, body: Sequence[str], caption: str, kind: str) -> Markup:
    return Markup(
        f'<svg class="{kind}" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}"'
        ' xmlns="http://www.w3.org/2000/svg"'
        f' role="img" aria-labelledby="{caption}" font-family="system-ui, sans-serif" font-size="13">'
        + "".join(body)
        + "</svg>"
    )


def _text(x: float, y: float, say: Markup, anchor: str = "start", color: str = INK, more: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" dominant-baseline="middle"'
        f"{more}>{say}</text>"
    )


def _rect(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.2f}" width="{width:.1f}" height="{height:.2f}" {style}/>'


def _band(x0: float, y0: float, x1: float, y1: float, high: float) -> str:
    """Return a band of one height from one place to another, as a path."""
    half = (x0 + x1) / 2
    there = f"M{x0:.1f} {y0:.2f}C{half:.1f} {y0:.2f} {half:.1f} {y1:.2f} {x1:.1f} {y1:.2f}"
    y0, y1 = y0 + high, y1 + high
    return f"{there}V{y1:.2f}C{half:.1f} {y1:.2f} {half:.1f} {y0:.2f} {x0:.1f} {y0:.2f}Z"


def _room(names: Sequence[str], labels: Mapping[str, Text]) -> float:
    """Return how much room the words of some nodes take beside them, and a number."""
    # A letter is about half as wide as it is high, a Chinese one as wide.
    most = max(max(len(labels[name]["en"]) * 7.2, len(labels[name]["zh"]) * 13.5) for name in names)
    return most + 80.0


def sankey(
    nodes: pd.DataFrame,
    flows: pd.DataFrame,
    labels: Mapping[str, Text],
    heads: Mapping[int, Text],
    say: Say,
    caption: str,
) -> Markup:
    """Draw flows: a column of nodes for each step, bands between them; what is left out is not drawn.

    Args:
        nodes: of one cluster: step, node, visits.
        flows: of one cluster: step, from_node, to_node, visits.
        labels: words for each node.
        heads: words for each step.
        say: writes a text in every language.
        caption: id of the words that tell what it shows.
    """
    flows = flows.loc[flows["visits"] > 0]
    steps = sorted({int(step) for step in nodes["step"]})
    # A node is as high as the bands that reach it, on the side that has more of them.
    sides: dict[tuple[int, str, int], float] = {}
    for step, a, b, visits in flows[["step", "from_node", "to_node", "visits"]].itertuples(index=False):
        sides[step - 1, a, 1] = sides.get((step - 1, a, 1), 0) + visits
        sides[step, b, 0] = sides.get((step, b, 0), 0) + visits
    sizes = {
        (step, node): max(sides.get((step, node, 0), 0), sides.get((step, node, 1), 0))
        for step, node, _ in sides
    }
    columns = {
        step: [node for node in nodes.loc[nodes["step"] == step, "node"] if sizes.get((step, node), 0) > 0]
        for step in steps
    }
    columns = {step: names for step, names in columns.items() if names}
    if len(columns) < 2:
        return Markup("")
    most = max(len(names) for names in columns.values())
    bar, gap, top = 12.0, 26.0, 34.0
    height = max(240.0, 62.0 * most)
    total = max(sum(sizes[step, node] for node in names) for step, names in columns.items())
    scale = (height - gap * (most - 1)) / total
    left, right = (_room(columns[end], labels) for end in (min(columns), max(columns)))
    width = left + 250.0 * (len(columns) - 1) + right
    xs = np.linspace(left, width - right - bar, len(columns))
    places: dict[tuple[int, str], tuple[float, float, float]] = {}
    body: list[str] = []
    colors: dict[str, str] = {}
    middle = 1 if 1 in columns else min(columns)
    for i, node in enumerate(columns[middle]):
        colors[node] = HOME_COLOR if node == "home" else PALETTE[i % len(PALETTE)]
    for x, (step, names) in zip(xs, columns.items(), strict=True):
        used = sum(sizes[step, node] for node in names) * scale
        space = min(gap * 2, (height - used) / max(len(names) - 1, 1)) if len(names) > 1 else 0.0
        y = top + (height - used - space * (len(names) - 1)) / 2
        for node in names:
            high = sizes[step, node] * scale
            places[step, node] = (x, y, high)
            y += high + space
        first, last = step == min(columns), step == max(columns)
        at = x if first else x + bar if last else x + bar / 2
        body.append(_text(at, 12, say(heads[step]), "start" if not last else "end", MUTED))
    offset: dict[tuple[int, str, int], float] = {}
    for step, a, b, visits in flows[["step", "from_node", "to_node", "visits"]].itertuples(index=False):
        if (step - 1, a) not in places or (step, b) not in places:
            continue
        x0, y0, _ = places[step - 1, a]
        x1, y1, _ = places[step, b]
        high = visits * scale
        start, end = y0 + offset.get((step - 1, a, 1), 0.0), y1 + offset.get((step, b, 0), 0.0)
        offset[step - 1, a, 1] = start - y0 + high
        offset[step, b, 0] = end - y1 + high
        shape = _band(x0 + bar, start, x1, end, high)
        color = colors[b if step == middle else a]
        body.append(
            f'<path d="{shape}" fill="{color}" fill-opacity="0.45" data-visits="{visits:.0f}"'
            f' data-from="{escape(a)}" data-to="{escape(b)}" data-step="{step}"/>'
        )
    counts = {
        (step, node): visits
        for step, node, visits in nodes[["step", "node", "visits"]].itertuples(index=False)
    }
    for step, names in columns.items():
        written = -np.inf
        for node in names:
            x, y, high = places[step, node]
            body.append(_rect(x, y, bar, max(high, 0.8), f'fill="{INK}"'))
            visits = counts.get((step, node), np.nan)
            number = "" if np.isnan(visits) else f' <tspan fill="{MUTED}">{visits:,.0f}</tspan>'
            words = Markup(say(labels[node]) + Markup(number))
            middle_y = max(y + high / 2, written + 16)
            written = middle_y
            first = step == min(columns)
            at, anchor = (x - 6, "end") if first else (x + bar + 6, "start")
            body.append(_text(at, middle_y, words, anchor, more=HALO))
    return _svg(width, height + top + 20, body, caption, "sankey")


def latent_map(hexagons: pd.DataFrame, names: Sequence[str], chosen: str | None, caption: str) -> Markup:
    """Draw where the clusters lie on the latents; a chosen one alone in its colour.

    Args:
        hexagons: x, y, radius, cluster (NaN: of none alone).
        names: of the clusters.
        chosen: the cluster shown; None for all.
        caption: id of the words that tell what it shows.
    """
    if not len(hexagons):
        return Markup("")
    low = hexagons[["x", "y"]].min().to_numpy(float)
    high = hexagons[["x", "y"]].max().to_numpy(float)
    radius = float(hexagons["radius"].iloc[0])
    size = 430.0 if chosen is None else 260.0
    scale = size / max(float((high - low).max()) + 2 * radius, 1e-9)
    width, height = (high - low + 2 * radius) * scale + 10
    corner = CORNERS * radius * scale
    # One shape for all hexagons, and one path for each cluster: small, whatever the number of visits.
    paths: dict[str, list[str]] = {}
    centers: dict[str, list[tuple[float, float]]] = {}
    for x, y, cluster in hexagons[["x", "y", "cluster"]].itertuples(index=False):
        at_x, at_y = (x - low[0] + radius) * scale + 5, height - 5 - (y - low[1] + radius) * scale
        name = "" if np.isnan(cluster) else f"{cluster:.0f}"
        points = "L".join(f"{at_x + dx:.1f} {at_y - dy:.1f}" for dx, dy in corner)
        paths.setdefault(name, []).append(f"M{points}Z")
        centers.setdefault(name, []).append((at_x, at_y))
    body = []
    for name, shapes in paths.items():
        lit = name and chosen in (None, name)
        color = cluster_color(float(name)) if lit else PALE
        body.append(f'<path d="{"".join(shapes)}" fill="{color}"/>')
    for name in names:
        if name in centers and chosen is None:
            x, y = np.median(np.array(centers[name]), axis=0)
            large = ' font-size="17" font-weight="bold"' + HALO
            body.append(_text(x, y, Markup(escape(name)), "middle", more=large))
    return _svg(width, height, body, caption, "map")


def traversal(
    table: pd.DataFrame, labels: Mapping[str, Text], say: Say, caption: str, moved: int = 4
) -> Markup:
    """Draw what the decoder makes of each latent as it moves about a cluster, a panel each.

    Args:
        table: of one cluster: latent, value, variable, standardised.
        labels: words for the variables.
        say: writes a text in every language.
        caption: id of the words that tell what it shows.
        moved: how many variables are drawn in each panel, those that move most.
    """
    width, height, head, right = 150.0, 130.0, 20.0, _room([*labels], labels) - 60.0
    body: list[str] = []
    panels = list(table.groupby("latent", sort=False))
    for i, (latent, part) in enumerate(panels):
        wide = part.pivot(index="value", columns="variable", values="standardised")
        span = (wide.max() - wide.min()).sort_values(ascending=False, kind="stable")
        chosen = [str(name) for name in span.index[:moved]]
        low, high = float(wide[chosen].min().min()), float(wide[chosen].max().max())
        values = wide.index.to_numpy(float)
        left, top = 6.0 + (i % 2) * (width + right + 14), head + (i // 2) * (height + 44)
        body.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="{PALE}"/>'
        )
        body.append(_text(left, top - 9, Markup(escape(str(latent))), color=MUTED))
        ends = []
        for name, color in zip(chosen, PALETTE, strict=False):
            xs = left + width * (values - values[0]) / (values[-1] - values[0])
            ys = top + height - height * (wide[name].to_numpy(float) - low) / max(high - low, 1e-9)
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
            body.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
            ends.append((float(ys[-1]), name, color))
        written = top - 8
        for y, name, color in sorted(ends):
            at = max(y, written + 15)
            written = at
            edge = left + width
            line = f"M{edge:.1f} {y:.1f}L{edge + 8:.1f} {at:.1f}"
            body.append(f'<path d="{line}" stroke="{color}" fill="none"/>')
            body.append(_text(left + width + 11, at, say(labels[name])))
        for value, at, anchor in ((values[0], left, "start"), (values[-1], left + width, "end")):
            body.append(
                _text(at, top + height + 11, Markup(f"{value:+.0f}"), anchor, MUTED, ' font-size="11"')
            )
    rows = -(-len(panels) // 2)
    wide_ = (width + right) * min(len(panels), 2) + 20
    return _svg(wide_, rows * (height + 44) + head, body, caption, "traversal")
