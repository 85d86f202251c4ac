"""What the latents mean: correlations, traversals and the plane they span (section 2.5, Table 4, Fig 2)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from jvade.analysis.profiles import patients_in

#: Correlations nearer to 0 count as blank. The study leaves cells blank without stating its rule.
THRESHOLD = 0.3
#: The map spans these percentiles of either axis, so that a few far visits do not shrink it.
MAP_PERCENTILES = (0.5, 99.5)
#: Rows that are copied to float64 at a time.
BLOCK_ROWS = 1 << 16


class Match(NamedTuple):
    """Which of our latents stands for each published one; both come in any order and with any sign.

    Args:
        order: number of our latent, from 1, for each published latent; 0 where none is left.
        signs: 1 or -1, what our latent is multiplied by; 0 where none is left.
        agreement: sum over the printed cells that we have of ours times published, over the same sum of
            published squared. 1 where ours equal the published; NaN where there is no such cell.
    """

    order: tuple[int, ...]
    signs: tuple[int, ...]
    agreement: float


def correlations(
    latents: Float[np.ndarray, "N L"], inputs: pd.DataFrame, threshold: float = THRESHOLD
) -> pd.DataFrame:
    """Return Pearson's r of every latent with every input (section 2.5.1, Table 4).

    Args:
        latents: posterior mean of each visit.
        inputs: a row per visit, a column per input; visits where an input is missing are left out of its r.
        threshold: smallest |r| that is shown.

    Returns:
        A row per input: variable, its r with each latent (z1..), and the same where |r| reaches the
        threshold, else NaN (z1_shown..). NaN in both where the input or the latent is constant.
    """
    rows = [_with_each(inputs[name].to_numpy(np.float64), latents) for name in inputs]
    numbers = range(1, latents.shape[1] + 1)
    table = pd.DataFrame(
        np.array(rows).reshape(len(rows), len(numbers)), columns=[f"z{number}" for number in numbers]
    )
    shown = table.where(table.abs() >= threshold).add_suffix("_shown")
    return pd.concat([pd.Series(list(inputs), name="variable", dtype=object), table, shown], axis=1)


def _with_each(values: Float[np.ndarray, " N"], latents: Float[np.ndarray, "N L"]) -> list[float]:
    """Return the correlation of one input with each latent."""
    known = ~np.isnan(values)
    if known.all():
        return [_pearson(values, latent.astype(np.float64)) for latent in latents.T]
    values = values[known]
    return [_pearson(values, latent[known].astype(np.float64)) for latent in latents.T]


def _pearson(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    # The range tells a constant for certain; rounding can leave its variance above 0.
    if len(x) == 0 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def match(correlations: pd.DataFrame, published: pd.DataFrame) -> Match:
    """Return the order and signs of our latents that meet the published correlations best.

    Args:
        correlations: as `correlations` returns them.
        published: column latent, and one per variable; NaN, or a variable that we lack, asks for nothing.
    """
    variables = [name for name in published.columns[1:] if name in set(correlations["variable"])]
    ours = correlations.set_index("variable").loc[variables, _names(correlations)].fillna(0.0).to_numpy()
    theirs = published[variables].fillna(0.0).to_numpy(np.float64)
    score = theirs @ ours
    matched, chosen = linear_sum_assignment(-np.abs(score))
    order, signs = np.zeros(len(published), int), np.zeros(len(published), int)
    order[matched] = chosen + 1
    signs[matched] = np.where(score[matched, chosen] < 0, -1, 1)
    possible = np.sum(theirs**2)
    agreement = np.abs(score[matched, chosen]).sum() / possible if possible > 0 else np.nan
    return Match(tuple(order.tolist()), tuple(signs.tolist()), float(agreement))


def beside(correlations: pd.DataFrame, match: Match, published: pd.DataFrame) -> pd.DataFrame:
    """Return our correlations beside the published ones, in the published order and sign (Table 4).

    Returns:
        A row per published latent and variable: latent, variable, ours (NaN where no latent of ours is
        left, or we lack the variable), shown (whether ours reaches the threshold), published.
    """
    table = published.melt("latent", var_name="variable", value_name="published")
    place = {latent: i for i, latent in enumerate(published["latent"])}
    table = table.sort_values("latent", key=lambda names: names.map(place), kind="stable", ignore_index=True)
    cells = correlations.set_index("variable")
    ours, shown = [], []
    for latent, variable in zip(table["latent"], table["variable"], strict=True):
        number, sign = match.order[place[latent]], match.signs[place[latent]]
        lacking = number == 0 or variable not in cells.index
        ours.append(np.nan if lacking else sign * cells.at[variable, f"z{number}"])
        shown.append(not lacking and bool(pd.notna(cells.at[variable, f"z{number}_shown"])))
    table.insert(2, "ours", np.array(ours, np.float64))
    table.insert(3, "shown", np.array(shown, bool))
    return table


def _names(correlations: pd.DataFrame) -> list[str]:
    return [name for name in correlations.columns if re.fullmatch(r"z\d+", name)]


def traversal_points(
    latents: Float[np.ndarray, "N L"], steps: int, low: float = -3.0, high: float = 3.0
) -> tuple[Float[np.ndarray, "L steps L"], Float[np.ndarray, " steps"]]:
    """Return points to decode: one latent moved in equal steps, the others at their mean over all visits.

    Returns:
        The points by latent moved and step, and the values it takes.
    """
    values = np.linspace(low, high, steps)
    n_latents = latents.shape[1]
    points = np.tile(latents.mean(axis=0, dtype=np.float64), (n_latents, steps, 1))
    for i in range(n_latents):
        points[i, :, i] = values
    return points.astype(latents.dtype), values


def traversal(
    values: Float[np.ndarray, " steps"],
    decoded_standardised: Float[np.ndarray, "L steps D"],
    decoded_original: Float[np.ndarray, "L steps D"],
    names: Sequence[str],
) -> pd.DataFrame:
    """Return the decoded points of `traversal_points` as one long table (section 2.5.2, Fig 2).

    Args:
        values: what the latent that moves takes.
        decoded_standardised: decoded inputs as the network sees them.
        decoded_original: the same in their own units.
        names: of the inputs.

    Returns:
        A row per latent, value and input: latent ("z1"..), value, variable, standardised, original.
    """
    n_latents, steps, n_inputs = decoded_standardised.shape
    latents = [f"z{number}" for number in range(1, n_latents + 1)]
    return pd.DataFrame(
        {
            "latent": np.repeat(np.array(latents, object), steps * n_inputs),
            "value": np.tile(np.repeat(values, n_inputs), n_latents),
            "variable": np.tile(np.array(names, object), n_latents * steps),
            "standardised": decoded_standardised.ravel(),
            "original": decoded_original.ravel(),
        }
    )


def plane(
    latents: Float[np.ndarray, "N L"],
) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, "L 2"], Float[np.ndarray, " L"]]:
    """Return the visits on a plane: two latents as they are, more on their first two principal axes.

    Returns:
        The points, the axes and the offset: points = (latents - offset) @ axes. The largest loading of a
        principal axis is positive.

    Raises:
        ValueError: there is one latent only.
    """
    n_latents = latents.shape[1]
    if n_latents < 2:
        raise ValueError(f"a map of the latents needs at least 2 of them, got {n_latents}")
    if n_latents == 2:
        return latents, np.eye(2), np.zeros(2)
    offset = latents.mean(axis=0, dtype=np.float64)
    scatter = sum((block - offset).T @ (block - offset) for block in _blocks(latents))
    axes = np.linalg.eigh(scatter)[1][:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return np.concatenate([(block - offset) @ axes for block in _blocks(latents)]), axes, offset


def _blocks(latents: Float[np.ndarray, "N L"]) -> Iterator[Float[np.ndarray, "n L"]]:
    """Yield the rows in float64, some at a time."""
    for start in range(0, len(latents), BLOCK_ROWS):
        yield latents[start : start + BLOCK_ROWS].astype(np.float64)


def ellipses(
    weights: Float[np.ndarray, " K"],
    means: Float[np.ndarray, "K L"],
    variances: Float[np.ndarray, "K L"],
    axes: Float[np.ndarray, "L 2"],
    offset: Float[np.ndarray, " L"],
) -> pd.DataFrame:
    """Return each component of a diagonal mixture as its ellipse on a plane.

    Args:
        weights: of the components.
        means: of the components.
        variances: of the components.
        axes: of the plane, as `plane` returns them.
        offset: of the plane.

    Returns:
        A row per component: cluster (from 0), weight, x, y, width and height (standard deviations along
        the long and the short axis, half of what the ellipse spans), angle of the long axis, degrees.
    """
    centers = (means.astype(np.float64) - offset) @ axes
    covariances = np.einsum("la,kl,lb->kab", axes, variances.astype(np.float64), axes)
    spread, directions = np.linalg.eigh(covariances)
    deviations = np.sqrt(np.clip(spread, 0, None))
    return pd.DataFrame(
        {
            "cluster": np.arange(len(weights)),
            "weight": weights,
            "x": centers[:, 0],
            "y": centers[:, 1],
            "width": deviations[:, 1],
            "height": deviations[:, 0],
            "angle": np.degrees(np.arctan2(directions[:, 1, 1], directions[:, 0, 1])) % 180,
        }
    )


def hexagons(
    points: Float[np.ndarray, "N 2"],
    measures: Mapping[str, np.ndarray],
    labels: Int[np.ndarray, " N"],
    patients: Int[np.ndarray, " N"] | None,
    min_patients: int,
    across: int = 32,
) -> tuple[pd.DataFrame, float]:
    """Return what the visits of each part of the plane are like; the parts are regular hexagons.

    Args:
        points: the visits on the plane; those beyond `MAP_PERCENTILES` of either axis are left out.
        measures: numbers (N,) of the visits by name; NaN is left out of a mean.
        labels: cluster of each visit.
        patients: patient of each visit; where unknown, each visit counts as one.
        min_patients: a hexagon with fewer is left out, a mean with fewer behind it is NaN.
        across: widths of a hexagon along the wider axis.

    Returns:
        The hexagons, and the share of all visits that lie in them, in percent. A row per hexagon: x, y,
        radius (from the center to a corner; a corner points up), visits, patients (NaN where unknown),
        cluster (the most frequent), cluster_share (its percentage of the visits), cluster_patients (of it,
        NaN where unknown), the mean of each measure.
    """
    inside, origin, radius = _extent(points, across)
    centers, cells = _nearest(points[inside].astype(np.float64) - origin, radius)
    people = np.arange(len(cells)) if patients is None else patients[inside].astype(np.int64)
    n_patients = patients_in(cells, people, len(centers))
    visits = np.bincount(cells, minlength=len(centers))
    names, votes = _votes(cells, labels[inside], len(centers))
    first = votes.argmax(axis=1)
    of_first = names[first][cells] == labels[inside]
    n_of_first = patients_in(cells[of_first], people[of_first], len(centers))
    table = pd.DataFrame(
        {
            "x": centers[:, 0] + origin[0],
            "y": centers[:, 1] + origin[1],
            "radius": radius,
            "visits": visits,
            "patients": np.nan if patients is None else n_patients,
            "cluster": names[first],
            "cluster_share": 100 * votes.max(axis=1) / visits,
            "cluster_patients": np.nan if patients is None else n_of_first,
        }
    )
    for name, values in measures.items():
        table[name] = _means(cells, values[inside].astype(np.float64), people, n_patients, min_patients)
    drawn = n_patients >= min_patients
    return table.loc[drawn].reset_index(drop=True), 100 * float(visits[drawn].sum()) / len(points)


def _extent(
    points: Float[np.ndarray, "N 2"], across: int
) -> tuple[Bool[np.ndarray, " N"], Float[np.ndarray, " 2"], float]:
    """Return which points are on the map, the middle of the map and the radius of its hexagons."""
    low, high = np.percentile(points, MAP_PERCENTILES, axis=0).astype(np.float64)
    inside = ((points >= low) & (points <= high)).all(axis=1)
    # Points in one place have no extent; any hexagon will hold them.
    wide = float((high - low).max()) or 1.0
    return inside, (low + high) / 2, wide / across / np.sqrt(3)


def _nearest(
    points: Float[np.ndarray, "n 2"], radius: float
) -> tuple[Float[np.ndarray, "H 2"], Int[np.ndarray, " n"]]:
    """Return the centers of the hexagons that hold points, and which of them holds each point."""
    # Three coordinates that sum to 0, one across each pair of sides: all are rounded, and the one that
    # rounding moved most is mended from the other two.
    row = points[:, 1] * (2 / 3) / radius
    column = points[:, 0] / (np.sqrt(3) * radius) - row / 2
    exact = np.stack([column, row, -column - row])
    whole = np.rint(exact)
    worst = np.abs(whole - exact).argmax(axis=0)
    excess = whole.sum(axis=0)
    q, r = (np.where(worst == i, whole[i] - excess, whole[i]).astype(np.int64) for i in (0, 1))
    span = np.ptp(r) + 1
    codes, cells = np.unique((q - q.min()) * span + (r - r.min()), return_inverse=True)
    q, r = codes // span + q.min(), codes % span + r.min()
    return radius * np.stack([np.sqrt(3) * (q + r / 2), 1.5 * r], axis=1), cells


def _votes(
    cells: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], size: int
) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, "H K"]]:
    """Return the labels, ascending, and the visits of each in each cell."""
    names, inverse = np.unique(labels, return_inverse=True)
    counts = np.bincount(cells * len(names) + inverse, minlength=size * len(names))
    return names, counts.reshape(size, len(names))


def _means(
    cells: Int[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    people: Int[np.ndarray, " n"],
    n_patients: Int[np.ndarray, " H"],
    min_patients: int,
) -> Float[np.ndarray, " H"]:
    """Return the mean of each cell over what is not NaN; NaN where too few people are behind it."""
    known, size = ~np.isnan(values), len(n_patients)
    if not known.all():
        cells, values = cells[known], values[known]
        n_patients = patients_in(cells, people[known], size)
    enough = (n_patients >= min_patients) & (n_patients > 0)
    sums, counts = np.bincount(cells, weights=values, minlength=size), np.bincount(cells, minlength=size)
    return np.divide(sums, counts, out=np.full(size, np.nan), where=enough)
