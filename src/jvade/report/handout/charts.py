"""The pictures of the report, as SVG: flows, map, traversals. Text comes in every language of the report."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from jvade.report.drawing import CORNERS, PALETTE, cluster_color

INK, MUTED, PALE = "#1f2933", "#52606d", "#e4e8ec"
#: White around letters, so that they are read on any colour.
HALO = ' paint-order="stroke" stroke="#fff" stroke-width="3" stroke-linejoin="round"'
#: Colours of the destinations, none of them a cluster's: home in grey, the others in turn (Okabe & Ito).
HOME_COLOR = "#aab4bd"
PLACES = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#7a7a7a")
#: Least share of its size that a picture is drawn at, where there is little room: its letters stay readable.
LEAST_SCALE = 0.69
#: Length of a stub: where bands that are left out would begin.
STUB = 16.0
#: Letters of a label in a traversal at the most.
MOST_LETTERS = 40
#: A text in each language, and what writes it.
Text = Mapping[str, str]
Say = Callable[[Text], Markup]


class Caption(NamedTuple):
    """What tells what a picture shows: the id of words on its page, or words of its own."""

    id: str = ""
    title: str = ""


def _svg(width: float, height: float, body: Sequence[str], caption: Caption, kind: str) -> Markup:
    named = f' aria-labelledby="{caption.id}"' if caption.id else ""
    title = f"<title>{escape(caption.title)}</title>" if caption.title else ""
    return Markup(
        f'<svg class="{kind}" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" style="min-width:{LEAST_SCALE * width:.0f}px"'
        ' xmlns="http://www.w3.org/2000/svg"'
        f' role="img"{named} font-family="system-ui, sans-serif" font-size="13">'
        + "".join([title, *body])
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
    return max(_length(text) for name in names for text in labels[name].values()) + 72.0


def _length(text: str) -> float:
    """Return how long a text is at the most: a Chinese letter is as wide as it is high, others half."""
    return sum(13.5 if letter >= "\u2e80" else 7.2 for letter in text)


def sankey(
    nodes: pd.DataFrame,
    flows: pd.DataFrame,
    labels: Mapping[str, Text],
    heads: Mapping[int, Text],
    colors: Mapping[str, str],
    say: Say,
    caption: Caption,
    apart: float = 250.0,
) -> Markup:
    """Draw flows: a column of nodes for each step, as high as their visits, and bands between them.

    A flow that is left out has no band: what a node of such has beyond its bands ends in a pale stub.

    Args:
        nodes: of one cluster: step, node, visits; NaN where they are left out.
        flows: of one cluster: step, from_node, to_node, visits.
        labels: words for each node.
        heads: words for each step.
        colors: of the destinations; bands have them.
        say: writes a text in every language.
        caption: what tells what it shows.
        apart: room between two steps.
    """
    left_out = {
        place
        for step, a, b in flows.loc[flows["visits"].isna(), ["step", "from_node", "to_node"]].itertuples(
            index=False
        )
        for place in ((step - 1, a, 1), (step, b, 0))
    }
    flows = flows.loc[flows["visits"] > 0]
    steps = sorted({int(step) for step in nodes["step"]})
    # A node is as high as its visits, or where these are not told, as its bands on the side that has more.
    sides: dict[tuple[int, str, int], float] = {}
    for step, a, b, visits in flows[["step", "from_node", "to_node", "visits"]].itertuples(index=False):
        sides[step - 1, a, 1] = sides.get((step - 1, a, 1), 0) + visits
        sides[step, b, 0] = sides.get((step, b, 0), 0) + visits
    counts = {
        (step, node): 0.0 if np.isnan(visits) else visits
        for step, node, visits in nodes[["step", "node", "visits"]].itertuples(index=False)
    }
    sizes = {
        (step, node): max(visits, sides.get((step, node, 0), 0), sides.get((step, node, 1), 0))
        for (step, node), visits in counts.items()
    }
    columns = {
        step: [node for node in nodes.loc[nodes["step"] == step, "node"] if sizes.get((step, node), 0) > 0]
        for step in steps
    }
    columns = {step: names for step, names in columns.items() if names}
    if len(columns) < 2 or flows.empty:
        return Markup("")
    most = max(len(names) for names in columns.values())
    bar, gap, top = 12.0, 26.0, 34.0
    height = max(240.0, 62.0 * most)
    total = max(sum(sizes[step, node] for node in names) for step, names in columns.items())
    scale = (height - gap * (most - 1)) / total
    left, right = (_room(columns[end], labels) for end in (min(columns), max(columns)))
    width = left + apart * (len(columns) - 1) + right
    xs = np.linspace(left, width - right - bar, len(columns))
    places: dict[tuple[int, str], tuple[float, float, float]] = {}
    body: list[str] = []
    middle = 1 if 1 in columns else min(columns)
    for x, (step, names) in zip(xs, columns.items(), strict=True):
        used = sum(sizes[step, node] for node in names) * scale
        space = min(gap * 2, (height - used) / max(len(names) - 1, 1)) if len(names) > 1 else 0.0
        y = top + (height - used - space * (len(names) - 1)) / 2
        for node in names:
            high = sizes[step, node] * scale
            places[step, node] = (x, y, high)
            y += high + space
        first = step == min(columns)
        body.append(_text(x + bar * first, 12, say(heads[step]), "end" if first else "start", MUTED))
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
        color = colors[b if step == middle else a] if middle == 1 else HOME_COLOR
        body.append(
            f'<path d="{shape}" fill="{color}" fill-opacity="0.45" data-visits="{visits:.0f}"'
            f' data-from="{escape(a)}" data-to="{escape(b)}" data-step="{step}"/>'
        )
    written_last: list[str] = []
    for step, names in columns.items():
        written = -np.inf
        for node in names:
            x, y, high = places[step, node]
            for side, at in ((0, x - STUB), (1, x + bar)):
                drawn = offset.get((step, node, side), 0.0)
                # Nothing but what is left out: rounding alone draws none.
                if (step, node, side) in left_out and counts[step, node] and high - drawn > 0.5:
                    body.append(_rect(at, y + drawn, STUB, high - drawn, f'class="stub" fill="{PALE}"'))
            body.append(_rect(x, y, bar, max(high, 0.8), f'fill="{INK}"'))
            visits = counts[step, node]
            number = f' <tspan fill="{MUTED}">{visits:,.0f}</tspan>' if visits else ""
            words = Markup(say(labels[node]) + Markup(number))
            middle_y = max(y + high / 2, written + 16)
            written = middle_y
            first = step == min(columns)
            at, anchor = (x - 6, "end") if first else (x + bar + 6, "start")
            written_last.append(_text(at, middle_y, words, anchor, more=HALO))
    body += written_last  # over everything
    return _svg(width, height + top + 20, body, caption, "sankey")


def drawn(flows: pd.DataFrame, visits: float) -> list[float]:
    """Return the percentage of so many visits that the bands of each step hold; see `sankey`."""
    bands = {int(step): 0.0 for step in flows["step"]}
    for step, band in flows.loc[flows["visits"] > 0, ["step", "visits"]].itertuples(index=False):
        bands[int(step)] += band
    return [100 * bands[step] / visits for step in sorted(bands)] if visits > 0 else []


def latent_map(hexagons: pd.DataFrame, names: Sequence[str], chosen: str | None, caption: Caption) -> Markup:
    """Draw where the clusters lie on the latents; a chosen one alone in its colour.

    Args:
        hexagons: x, y, radius, cluster (NaN: of none alone).
        names: of the clusters.
        chosen: the cluster shown; None for all.
        caption: what tells what it shows.
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


def traversals(
    table: pd.DataFrame, labels: Mapping[str, Text], say: Say, caption: Caption, moved: int = 4
) -> list[Markup]:
    """Draw what the decoder makes of each latent as it moves about a cluster: a picture for each latent.

    Args:
        table: of one cluster: latent, value, variable, standardised.
        labels: words for the variables.
        say: writes a text in every language.
        caption: what tells what they show.
        moved: how many variables are drawn in each picture, those that move most.
    """
    panels: dict[str, pd.DataFrame] = {}
    for latent, part in table.groupby("latent", sort=False):
        wide = part.pivot(index="value", columns="variable", values="standardised")
        span = (wide.max() - wide.min()).sort_values(ascending=False, kind="stable")
        panels[str(latent)] = wide.reindex(columns=[str(name) for name in span.index[:moved]])
    # A variable has one colour in all of them.
    names = dict.fromkeys(name for panel in panels.values() for name in panel)
    colors = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    short = {
        name: {
            one: text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
            for one, text in labels[name].items()
        }
        for name in names
    }
    return [_traversal(latent, panel, short, colors, say, caption) for latent, panel in panels.items()]


def _traversal(
    latent: str,
    panel: pd.DataFrame,
    labels: Mapping[str, Text],
    colors: Mapping[str, str],
    say: Say,
    caption: Caption,
) -> Markup:
    width, height, left, top = 150.0, 130.0, 6.0, 20.0
    values, edge = panel.index.to_numpy(float), left + width
    low, high = float(panel.min().min()), float(panel.max().max())
    body = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="{PALE}"/>']
    body.append(_text(left, top - 9, Markup(escape(latent)), color=MUTED))
    ends = []
    for name in panel:
        xs = left + width * (values - values[0]) / (values[-1] - values[0])
        ys = top + height - height * (panel[name].to_numpy(float) - low) / max(high - low, 1e-9)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        body.append(f'<polyline points="{points}" fill="none" stroke="{colors[name]}" stroke-width="2"/>')
        ends.append((float(ys[-1]), str(name)))
    written = top - 8
    for y, name in sorted(ends):
        at = written = max(y, written + 15)
        line = f"M{edge:.1f} {y:.1f}L{edge + 8:.1f} {at:.1f}"
        body.append(f'<path d="{line}" stroke="{colors[name]}" fill="none"/>')
        body.append(_text(edge + 11, at, say(labels[name])))
    for value, at, anchor in ((values[0], left, "start"), (values[-1], edge, "end")):
        body.append(_text(at, top + height + 11, Markup(f"{value:+.0f}"), anchor, MUTED))
    room = _room([*panel], labels) - 50.0
    return _svg(edge + room, max(top + height + 24, written + 12), body, caption, "traversal")
