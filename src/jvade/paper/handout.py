"""What a finished run hands on: every number that the report prints, after the disclosure rule."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from jvade.analysis import disclosure
from jvade.analysis.disclosure import Counts, Dimension, Protected, Rule
from jvade.analysis.profiles import Row
from jvade.analysis.types import CareType, Figure, match
from jvade.data.variables import CROSS_DISTRICT, OUTCOME, VisitTable
from jvade.paper.stage import Outcome
from jvade.paper.stages import profiles
from jvade.paper.stages.cohort import visit_table
from jvade.report.handout.content import Cluster, Fact, Handout

#: A flag of each visit, as a dimension.
NO, YES = "no", "yes"
HOME, ELSEWHERE, UNKNOWN, NONE = "home", "elsewhere", "unknown", "none"
#: Dimensions of the flows.
ORIGIN, DESTINATION, LEVEL = "origin", "destination", "level"
#: A fact tells a cluster from all visits by at least so many standard deviations; so many are told.
LEAST_EFFECT, MOST_FACTS = 0.15, 5
#: Stages that a report is made of.
STAGES = ("cohort", "fine-tuning", "latents", "profiles", "stability")


def make(
    outcomes: Mapping[str, Outcome], settings: Mapping[str, Any], rule: Rule, types: Sequence[CareType]
) -> Handout:
    """Return what may be handed on of a finished run.

    Args:
        outcomes: of `STAGES`.
        settings: of the run, as its manifest has them.
        rule: of disclosure.
        types: of care-seeking.
    """
    table, tuned = visit_table(outcomes["cohort"]), outcomes["fine-tuning"]
    labels = tuned.arrays["labels"]
    patients = table.frame["patient"].to_numpy() if "patient" in table.frame else None
    counted = Tables(table, labels)
    published = disclosure.publish(disclosure.count(counted.dimensions, counted.families, patients), rule)
    profile, spreads = _profile(table, labels, counted, published)
    columns = [name for name in profile if name.startswith("cluster")]
    shown = [name.removeprefix("cluster") for name in columns]
    figures = {
        name: {
            row["variable"]: Figure(row[f"cluster{name}"], row["overall"])
            for row in profile.to_dict("records")
        }
        for name in shown
    }
    clusters = [
        Cluster(
            name,
            published.visits(cluster=name),
            published.patients(cluster=name) if patients is not None else np.nan,
            figures[name],
            _facts(figures[name], spreads),
            match(types, figures[name]),
        )
        for name in shown
    ]
    flows, nodes = _flows(counted, published, [None, *shown])
    latents = outcomes["latents"]
    hexagons = latents.tables.get("latent_map")
    if hexagons is not None:
        hexagons = _hexagons(hexagons, [int(name) for name in shown], rule)
    moved = latents.tables.get("cluster_traversal")
    if moved is not None:
        moved = moved.loc[moved["cluster"].astype(str).isin(shown)]
    return Handout(
        rule,
        rule.min_patients > 1,
        patients is not None,
        published.visits(),
        published.patients() if patients is not None else np.nan,
        clusters,
        len(counted.dimensions["cluster"].values) - len(shown),
        profile,
        flows,
        nodes,
        hexagons,
        moved,
        _stability(outcomes["stability"]),
        _account(table, rule),
        _about(outcomes, settings),
    )


class Tables:
    """The dimensions that are counted, and the tables of them."""

    def __init__(self, table: VisitTable, labels: np.ndarray) -> None:
        frame = table.frame
        names, codes = np.unique(labels, return_inverse=True)
        self.dimensions = {"cluster": Dimension(codes, [str(name) for name in names])}
        self.families: list[tuple[str, ...]] = []
        #: Where the count of a variable is found: the dimension and its value.
        self.of: dict[str, tuple[str, str]] = {}
        self.labels: dict[str, str] = {v.name: v.label for v in (CROSS_DISTRICT, *table.inputs)}
        flags: dict[str, list[str]] = {}
        for variable in table.inputs:
            if variable.kind == "binary":
                flags.setdefault(variable.group, []).append(variable.name)
            else:
                known = ~np.isnan(frame[variable.name].to_numpy())
                self._add(f"{variable.name} known", known.astype(np.int8), [NO, YES])
                self.of[variable.name] = (f"{variable.name} known", YES)
        levels = residence = None
        for group, columns in flags.items():
            for i, block in enumerate(_exclusive(frame, columns)):
                name = f"{group} {i + 1}"
                codes = np.zeros(len(frame), np.int8)
                for place, column in enumerate(block, 1):
                    codes[frame[column].to_numpy(bool)] = place
                values = [NONE, *block] if len(block) > 1 else [NO, YES]
                self._add(name, codes, values)
                self.of |= dict(zip(block, ((name, value) for value in values[1:]), strict=True))
                if group == "institution" and len(block) > 1 and levels is None:
                    levels = name
                if group == "residence" and len(block) > 1 and residence is None:
                    residence = name
        crossed = table.outcome
        self._add(OUTCOME, crossed.astype(np.int8), [NO, YES])
        self.of[OUTCOME] = (OUTCOME, YES)
        going = (
            _codes(frame[DESTINATION].to_numpy(object), profiles.DESCRIBED[DESTINATION][1])
            if DESTINATION in table.extras
            else None
        )
        places = [HOME, *(going.values if going else ()), ELSEWHERE]
        codes = np.where(crossed, (going.codes + 1) if going else len(places) - 1, 0)
        if going and UNKNOWN in going.values:
            places[1 + list(going.values).index(UNKNOWN)] = "unknown destination"
        self.dimensions[DESTINATION] = Dimension(codes, places)
        self.families.append(("cluster", OUTCOME, DESTINATION))
        self.of |= {value: (DESTINATION, value) for value in profiles.DESCRIBED["destination"][1]}
        if "zone" in table.extras:
            self.dimensions[ORIGIN] = _codes(frame["zone"].to_numpy(object), profiles.DESCRIBED["zone"][1])
            if residence:  # a zone is made of sub-districts
                self.families.append(("cluster", ORIGIN, residence))
        elif residence:
            self.dimensions[ORIGIN] = self.dimensions[residence]
            self.families.append(("cluster", ORIGIN, residence))
        self.of |= {value: (ORIGIN, value) for value in profiles.DESCRIBED["zone"][1]}
        self.level = levels
        if ORIGIN in self.dimensions:
            self.families.append(("cluster", ORIGIN, DESTINATION))
        if levels:
            self.families.append(("cluster", DESTINATION, levels))

    def _add(self, name: str, codes: np.ndarray, values: Sequence[str]) -> None:
        self.dimensions[name] = Dimension(codes, values)
        self.families.append(("cluster", name))


def _exclusive(frame: pd.DataFrame, columns: Sequence[str]) -> list[list[str]]:
    """Return 0/1 columns in blocks of which no visit has two, in their order."""
    blocks: list[tuple[list[str], np.ndarray]] = []
    for column in columns:
        mine = frame[column].to_numpy(bool)
        for block, taken in blocks:
            if not (taken & mine).any():
                block.append(column)
                np.logical_or(taken, mine, out=taken)
                break
        else:
            blocks.append(([column], mine.copy()))
    return [block for block, _ in blocks]


def _codes(words: np.ndarray, first: Iterable[str]) -> Dimension:
    """Return a column of words as a dimension: some in their order, then the others by name."""
    found, names = pd.factorize(words)
    first = list(first)
    order = sorted(
        map(str, names), key=lambda name: (first.index(name) if name in first else len(first), name)
    )
    place = np.array([order.index(str(name)) for name in names] + [len(order)], np.int64)
    return Dimension(place[found], [*order, UNKNOWN] if (found < 0).any() else order)


def _profile(
    table: VisitTable, labels: np.ndarray, counted: Tables, published: Protected
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the profile of the clusters that may be shown, and the standard deviation of each variable."""
    cluster = counted.dimensions["cluster"]
    shown = [name for name in cluster.values if published.visits(cluster=name) > 0]
    n_clusters = len(cluster.values)
    whole = [{"cluster": name} for name in shown] + [{}]
    lines: list[dict[str, Any]] = [
        _line(Row("share", "share", "percent"), "share", [published.share({}, **one) for one in whole])
    ]
    spreads = {"share": np.inf}
    residence = [Row("residence", v.name, "percent") for v in table.inputs if v.group == "residence"]
    rows = sorted([*profiles.printed(table), *residence], key=lambda row: _place(row.group))
    for row in rows:
        dimension, value = counted.of[row.variable]
        label = counted.labels.get(row.variable, row.variable)
        if f"{row.variable} known" == dimension:
            values = table.frame[row.variable].to_numpy(np.float64)
            known = ~np.isnan(values)
            mine = cluster.codes[known]
            numbers = np.bincount(mine, minlength=n_clusters)
            sums = np.bincount(mine, weights=values[known], minlength=n_clusters)
            means = dict(zip(cluster.values, sums / np.maximum(numbers, 1), strict=True))
            open_ = [published.visits(**one, **{dimension: value}) > 0 for one in whole]
            cells = [means[one["cluster"]] if one else sums.sum() / max(numbers.sum(), 1) for one in whole]
            lines.append(_line(row, label, np.where(open_, cells, np.nan)))
            spreads[row.variable] = float(values[known].std()) if known.any() else 0.0
            continue
        of = {OUTCOME: YES} if dimension == DESTINATION else {}
        shares = [published.share({**one, **of}, **{dimension: value}) for one in whole]
        lines.append(_line(row, label, shares))
        part = shares[-1] / 100
        spreads[row.variable] = 100 * float(np.sqrt(part * (1 - part))) if part == part else 0.0
    frame = pd.DataFrame(
        [
            line | dict(zip([*(f"cluster{n}" for n in shown), "overall"], line.pop("cells"), strict=True))
            for line in lines
        ]
    )
    means = frame[[f"cluster{name}" for name in shown]].to_numpy(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        n_known = (~np.isnan(means)).sum(axis=1)
        center = np.nansum(means, axis=1) / n_known
        spread = np.sqrt(np.nansum((means - center[:, None]) ** 2, axis=1) / n_known)
        frame["cv"] = np.where(center > 0, spread / center, np.nan)
    return frame, spreads


def _place(group: str) -> int:
    return profiles.GROUPS.index(group) if group in profiles.GROUPS else len(profiles.GROUPS)


def _line(row: Row, label: str, cells: Sequence[float] | np.ndarray) -> dict[str, Any]:
    return {"group": row.group, "variable": row.variable, "label": label, "unit": row.unit, "cells": [*cells]}


def _facts(figures: Mapping[str, Figure], spreads: Mapping[str, float]) -> list[Fact]:
    """Return the figures that tell a cluster from all visits, the strongest first."""
    found = [
        Fact(name, figure, (figure.value - figure.overall) / spreads[name])
        for name, figure in figures.items()
        if name not in ("share", OUTCOME) and spreads[name] > 0 and figure.value == figure.value
    ]
    strong = sorted(found, key=lambda fact: -abs(fact.effect))
    return [fact for i, fact in enumerate(strong[:MOST_FACTS]) if i < 3 or abs(fact.effect) >= LEAST_EFFECT]


def _flows(
    counted: Tables, published: Protected, clusters: Sequence[str | None]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return flows and nodes of all visits and of each cluster, as published."""
    steps = [(0, ORIGIN), (1, DESTINATION), (2, counted.level)]
    steps = [(step, name) for step, name in steps if name in counted.dimensions]
    nodes, flows = [], []
    for cluster in clusters:
        of = {} if cluster is None else {"cluster": cluster}
        for step, name in steps:
            for value in counted.dimensions[name].values:
                visits = published.visits(**of, **{name: value})
                if visits != 0:
                    nodes.append((cluster or "all", step, value, counted.labels.get(value, value), visits))
        for (step, one), (_, two) in pairwise(steps):
            for a in counted.dimensions[one].values:
                for b in counted.dimensions[two].values:
                    visits = published.visits(**of, **{one: a, two: b})
                    if visits != 0:
                        flows.append((cluster or "all", step + 1, a, b, visits))
    return (
        pd.DataFrame(flows, columns=pd.Index(["cluster", "step", "from_node", "to_node", "visits"])),
        pd.DataFrame(nodes, columns=pd.Index(["cluster", "step", "node", "label", "visits"])),
    )


def _hexagons(hexagons: pd.DataFrame, shown: Sequence[int], rule: Rule) -> pd.DataFrame:
    """Return the hexagons with enough patients; of a cluster if it has enough of them there."""
    behind = hexagons["patients"].fillna(hexagons["visits"])
    own = hexagons["cluster_patients"].fillna(hexagons["visits"] * hexagons["cluster_share"] / 100)
    named = (own >= rule.min_patients) & hexagons["cluster"].isin(shown)
    kept = hexagons.assign(cluster=hexagons["cluster"].where(named))
    return kept.loc[behind >= rule.min_patients, ["x", "y", "radius", "cluster"]].reset_index(drop=True)


def _stability(found: Outcome) -> dict[str, Any]:
    table = found.tables["table6_stability"].set_index("seed")
    indices = ("silhouette", "davies_bouldin", "calinski_harabasz")
    return {
        "ari_mean": found.values["ari_mean"],
        "ari_least": found.values["ari_least"],
        "runs": len(found.tables["table6_runs"]),
        "cv": {name: float(table.loc["CV", name]) for name in indices if "CV" in table.index},  # pyright: ignore[reportArgumentType]
    }


def _account(table: VisitTable, rule: Rule) -> list[tuple[str, float]]:
    """Return what became of the rows; rows count as patients do."""
    account = table.account
    lines = [("left out by filters of the mapping", account.filtered_out)]
    lines += [(f"dropped: {drop.rule}", drop.rows) for drop in account.dropped]
    lines += [("kept", account.kept)]
    lines = [(words, rows) for words, rows in lines if rows]
    cells = [frozenset(), *(frozenset({("row", words)}) for words, _ in lines)]
    numbers = np.array([sum(rows for _, rows in lines), *(rows for _, rows in lines)])
    counts = Counts(cells, numbers, numbers, [(0, tuple(range(1, len(cells))))])
    open_ = disclosure.publish(counts, rule)
    return [("read", open_.visits()), *((words, open_.visits(row=words)) for words, _ in lines)]


def _about(outcomes: Mapping[str, Outcome], settings: Mapping[str, Any]) -> dict[str, Any]:
    cohort, tuned = outcomes["cohort"].values, outcomes["fine-tuning"].values
    return {
        "simulated": settings["visits"] is None,
        "source": None if settings["visits"] is None else str(settings["visits"]).rsplit("/", 1)[-1],
        "preset": settings["preset"],
        "seed": settings["seed"],
        "n_inputs": len(cohort["inputs"]),
        "latent_dim": settings["model"]["latent_dim"],
        "n_clusters": settings["model"]["n_clusters"],
        "alive": tuned["alive"],
        "epochs": tuned["epochs"],
        "noise_variance": settings["model"]["noise_variance"],
        "widths": settings["widths"],
    }
