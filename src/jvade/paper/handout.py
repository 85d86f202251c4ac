"""What a finished run hands on: every number that the report prints, after the disclosure rule."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jvade import health
from jvade.analysis import disclosure
from jvade.analysis.disclosure import Dimension, Protected, Rule
from jvade.analysis.profiles import Row
from jvade.analysis.types import CareType, Figure, match, undecided
from jvade.data.variables import CROSS_DISTRICT, OUTCOME, VisitTable
from jvade.paper.stage import Outcome
from jvade.paper.stages import profiles
from jvade.paper.stages.cohort import visit_table
from jvade.report.handout.content import OTHERS, Cluster, Fact, Handout, Whose

#: A flag of each visit, as a dimension.
NO, YES = "no", "yes"
HOME, ELSEWHERE, UNKNOWN, NONE = "home", "elsewhere", "unknown", "none"
UNKNOWN_PLACE = "unknown destination"
#: All but the most common of more places than there may be: to protect hundreds of them would not end.
MOST_PLACES = 12
#: Places that are no codes of the visits.
NO_CODES = (HOME, ELSEWHERE, UNKNOWN, NONE, UNKNOWN_PLACE, OTHERS)
#: Dimensions of the flows.
ORIGIN, DESTINATION, LEVEL = "origin", "destination", "level"
#: Groups of the profile whose names are codes of the visits: that of a code of few patients may tell of them.
CODED = ("residence", "destination", "further")
#: What all places are called together of which no number is published.
LEFT_OUT = "left out"
#: A fact tells a cluster from all visits by at least so many standard deviations; so many are told.
LEAST_EFFECT, MOST_FACTS = 0.1, 5
#: Visits from which a mean is told to a tenth; 1 over it is less than that.
ENOUGH_FOR_DECIMALS = 20
#: Stages that a report is made of, by whose clusters it has.
STAGES: dict[Whose, tuple[str, ...]] = {
    "study": ("cohort", "fine-tuning", "latents", "profiles", "stability"),
    "robust": ("cohort", "robust"),
}


def make(
    outcomes: Mapping[str, Outcome],
    settings: Mapping[str, Any],
    rule: Rule,
    types: Sequence[CareType],
    whose: Whose = "study",
) -> Handout:
    """Return what may be handed on of a finished run.

    Args:
        outcomes: of the `STAGES` of these clusters.
        settings: of the run, as its manifest has them.
        rule: of disclosure.
        types: of care-seeking.
        whose: clusters.
    """
    table = visit_table(outcomes["cohort"])
    labels, latents, seeds, of_model = (_study if whose == "study" else _robust)(outcomes, settings)
    patients = table.frame["patient"].to_numpy() if "patient" in table.frame else None
    counted = Tables(table, labels)
    published = disclosure.publish(disclosure.count(counted.dimensions, counted.families, patients), rule)
    profile, spreads = _profile(table, counted, published)
    shown = [name.removeprefix("cluster") for name in profile if name.startswith("cluster")]
    codes, untold = profile.loc[profile["group"].isin(CODED), "variable"], published.untold()
    unnamed = profile["variable"].isin([name for name in codes if counted.of[name] in untold])
    profile.loc[unnamed, [*(f"cluster{name}" for name in shown), "overall"]] = np.nan  # zeros among them
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
            undecided(types, figures[name]),
        )
        for name in shown
    ]
    left_out = len(counted.dimensions["cluster"].values) - len(shown)
    by_rate = not left_out and not any(np.isnan(c.figures[OUTCOME].value) for c in clusters)
    # The run's own order is that of exact rates. The labels alone say what it is replaced by.
    rng = np.random.default_rng(np.frombuffer(hashlib.sha256(labels.tobytes()).digest(), np.uint32))
    clusters, new = _numbered([clusters[i] for i in rng.permutation(len(clusters))], by_rate)
    profile = profile.loc[~unnamed]
    profile = profile.rename(columns={f"cluster{old}": f"cluster{name}" for old, name in new.items()})
    order = [f"cluster{cluster.name}" for cluster in clusters]
    profile = profile.reindex(columns=[*(name for name in profile if name not in order), *order])
    # In the order of the numbers that are published, here and below.
    flows, nodes = (
        one.assign(cluster=one["cluster"].replace(new)) for one in _flows(counted, published, [None, *new])
    )
    hexagons = latents.get("latent_map")
    if hexagons is not None:
        hexagons = _hexagons(hexagons, [int(name) for name in shown], rule)
        hexagons["cluster"] = hexagons["cluster"].replace({int(old): int(name) for old, name in new.items()})
    moved = latents.get("cluster_traversal")
    if moved is not None:
        moved = moved.loc[
            moved["cluster"].astype(str).isin(shown) & moved["variable"].isin(profile["variable"])
        ]
        moved = moved.assign(cluster=moved["cluster"].astype(str).replace(new))
        moved = moved.sort_values("cluster", key=lambda names: names.astype(int), kind="stable")
    return Handout(
        rule,
        rule.min_patients > 1,
        by_rate,
        patients is not None,
        published.visits(),
        published.patients() if patients is not None else np.nan,
        clusters,
        left_out,
        profile,
        flows,
        nodes,
        hexagons,
        moved,
        whose,
        seeds,
        _account(table, rule, published.visits()),
        _about(outcomes, settings) | of_model,
    )


def _numbered(clusters: Sequence[Cluster], by_rate: bool) -> tuple[list[Cluster], dict[str, str]]:
    """Return the clusters in the order they are published in, and the number of each by that of the run.

    A run numbers them by their exact cross rates; here, by the published ones. Where one of these is left
    out, or a whole cluster is, its neighbours would tell how high its rate is: then they are numbered by
    size, as published, and equals by what else is published of them, so that the order tells nothing more;
    those that are equal in all of it stay in the order given.
    """

    def size(cluster: Cluster) -> tuple[float, ...]:
        figures = [figure.value for _, figure in sorted(cluster.figures.items())]
        return tuple(np.nan_to_num([-cluster.visits, -cluster.patients, *figures], nan=-1.0).tolist())

    def key(cluster: Cluster) -> tuple[float, ...]:
        return (-cluster.figures[OUTCOME].value if by_rate else 0.0, *size(cluster))

    order = sorted(clusters, key=key)
    new = {one.name: str(number) for number, one in enumerate(order, 1)}
    return [replace(one, name=new[one.name]) for one in order], new


class Tables:
    """The dimensions that are counted, and the tables of them."""

    def __init__(self, table: VisitTable, labels: np.ndarray) -> None:
        frame = table.frame
        names, codes = np.unique(labels, return_inverse=True)
        self.dimensions = {"cluster": Dimension(codes, [str(name) for name in names])}
        self.families: list[tuple[str, ...]] = []
        #: Where the count of a variable is found, of a number how many have it: the dimension and its value.
        self.of: dict[str, tuple[str, str]] = {}
        self._flags: dict[bytes, str] = {}
        self.labels: dict[str, str] = {v.name: v.label for v in (CROSS_DISTRICT, *table.inputs)}
        flags: dict[str, list[str]] = {}
        for variable in table.inputs:
            if variable.kind == "binary":
                flags.setdefault(variable.group, []).append(variable.name)
            else:
                self._flag(variable.name, ~np.isnan(frame[variable.name].to_numpy()))
        levels = residence = None
        for group, columns in flags.items():
            told = [column for column in columns if self._counted(frame[column].to_numpy(bool))]
            for column in told:
                self._flag(column, frame[column].to_numpy(bool))
            for i, block in enumerate(_exclusive(frame, [one for one in columns if one not in told])):
                if len(block) == 1:
                    self._flag(block[0], frame[block[0]].to_numpy(bool))
                    continue
                name = f"{group} {i + 1}"
                codes = np.zeros(len(frame), np.int64)
                for place, column in enumerate(block, 1):
                    codes[frame[column].to_numpy(bool)] = place
                self.dimensions[name] = Dimension(codes, [NONE, *block])
                self.families.append(("cluster", name))
                self.of |= {value: (name, value) for value in block}
                if group == "institution" and levels is None:
                    levels = name
                if group == "residence" and residence is None:
                    residence = name
        crossed = table.outcome.astype(bool)
        self.dimensions[OUTCOME] = Dimension(crossed.astype(np.int64), [NO, YES])
        self.of[OUTCOME] = (OUTCOME, YES)
        going = (  # of the visits that go anywhere
            _codes(frame[DESTINATION].to_numpy(object)[crossed], profiles.DESCRIBED[DESTINATION][1])
            if DESTINATION in table.extras
            else None
        )
        places = [HOME, *(going.values if going else ()), ELSEWHERE]
        places[1:-1] = [f"{name}_" if name in (HOME, ELSEWHERE) else name for name in places[1:-1]]
        codes = np.zeros(len(frame), np.int64)
        codes[crossed] = going.codes + 1 if going else len(places) - 1
        if going and UNKNOWN in going.values:
            places[1 + list(going.values).index(UNKNOWN)] = UNKNOWN_PLACE
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

    def _counted(self, flag: np.ndarray) -> tuple[str, str] | None:
        """Return where a flag, or its opposite, is counted already; None if nowhere."""
        for one, value in ((flag, YES), (~flag, NO)):
            known = self._flags.get(np.packbits(one).tobytes())
            if known is not None:
                return known, value
        return None

    def _flag(self, name: str, flag: np.ndarray) -> None:
        """Count a flag of the visits; for a number, whether it is known.

        One that says the same as another, or the opposite (a first visit has no gap before it), is counted
        once: protected each for itself, the two could give away what either leaves out.
        """
        counted = self._counted(flag)
        if counted is not None:
            self.of[name] = counted
            return
        self._flags[np.packbits(flag).tobytes()] = name
        self.dimensions[name] = Dimension(flag.astype(np.int64), [NO, YES])
        self.families.append(("cluster", name))
        self.of[name] = (name, YES)


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
    """Return a column of words as a dimension: some in their order, the others by name, the rest of many."""
    found, names = pd.factorize(words)
    names, first = [str(name) for name in names], list(first)
    if len(names) > MOST_PLACES:
        visits = dict(zip(names, np.bincount(found[found >= 0]).tolist(), strict=True))
        common = sorted(names, key=lambda name: (-visits[name], name))[: MOST_PLACES - 1]
        names = [name if name in common else OTHERS for name in names]
    order = sorted(
        {*names},
        key=lambda name: (first.index(name) if name in first else len(first), name == OTHERS, name),
    )
    place = np.array([order.index(name) for name in names] + [len(order)], np.int64)
    return Dimension(place[found], [*order, UNKNOWN] if (found < 0).any() else order)


def _profile(
    table: VisitTable, counted: Tables, published: Protected
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the profile of the clusters that may be shown, and the standard deviation of each variable.

    A mean is of the visits that have the number, and told with their count: else means could tell it.
    """
    cluster = counted.dimensions["cluster"]
    shown = [name for name in cluster.values if published.visits(cluster=name) > 0]
    n_clusters, numeric = len(cluster.values), {v.name for v in table.inputs if v.kind == "numeric"}
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
        if row.variable in numeric:
            values = table.frame[row.variable].to_numpy(np.float64)
            known = ~np.isnan(values)
            mine = cluster.codes[known]
            numbers = np.bincount(mine, minlength=n_clusters)
            sums = np.bincount(mine, weights=values[known], minlength=n_clusters)
            means = dict(zip(cluster.values, sums / np.maximum(numbers, 1), strict=True))
            visits = np.array([published.visits(**one, **{dimension: value}) for one in whole])
            cells = [means[one["cluster"]] if one else sums.sum() / max(numbers.sum(), 1) for one in whole]
            # Coarse enough that every count that rounds to what is published could have this mean: an exact
            # mean of whole numbers tells how many there are.
            digits = (visits >= ENOUGH_FOR_DECIMALS).astype(int).tolist()
            cells = [round(cell, n) for cell, n in zip(cells, digits, strict=True)]
            lines.append(_line(row, label, np.where(visits > 0, cells, np.nan)))
            spreads[row.variable] = float(values[known].std()) if known.any() else 0.0
            continue
        if value not in counted.dimensions[dimension].values:
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
        if name not in ("share", OUTCOME) and spreads[name] > 0
        if figure.value == figure.value and figure.overall == figure.overall
    ]
    strong = sorted(found, key=lambda fact: -abs(fact.effect))
    return [fact for fact in strong[:MOST_FACTS] if abs(fact.effect) >= LEAST_EFFECT]


def _flows(
    counted: Tables, published: Protected, clusters: Sequence[str | None]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return flows and nodes of all visits and of each cluster, as published.

    Places of which no number is published have no name either: together they are one node.
    """
    places = {one for one in published.untold() if one[0] in (ORIGIN, DESTINATION) and one[1] not in NO_CODES}
    steps = [(0, ORIGIN), (1, DESTINATION), (2, counted.level)]
    steps = [(step, name) for step, name in steps if name in counted.dimensions]
    nodes, flows = [], []
    for cluster in clusters:
        of = {} if cluster is None else {"cluster": cluster}
        for step, name in steps:
            for value in counted.dimensions[name].values:
                visits = published.visits(**of, **{name: value})
                if visits != 0:
                    node = LEFT_OUT if (name, value) in places else value
                    nodes.append((cluster or "all", step, node, counted.labels.get(node, node), visits))
        for (step, one), (_, two) in pairwise(steps):
            for a in counted.dimensions[one].values:
                for b in counted.dimensions[two].values:
                    visits = published.visits(**of, **{one: a, two: b})
                    if visits != 0:
                        ends = [LEFT_OUT if end in places else end[1] for end in ((one, a), (two, b))]
                        flows.append((cluster or "all", step + 1, *ends, visits))
    return (
        _table(flows, ("cluster", "step", "from_node", "to_node", "visits")),
        _table(nodes, ("cluster", "step", "node", "label", "visits")),
    )


def _table(lines: Sequence[tuple], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=pd.Index(columns)).drop_duplicates(ignore_index=True)


def _hexagons(hexagons: pd.DataFrame, shown: Sequence[int], rule: Rule) -> pd.DataFrame:
    """Return the hexagons with enough patients; of a cluster if it has enough of them there."""
    behind = hexagons["patients"].fillna(hexagons["visits"])
    own = hexagons["cluster_patients"].fillna(hexagons["visits"] * hexagons["cluster_share"] / 100)
    named = (own >= rule.min_patients) & hexagons["cluster"].isin(shown)
    kept = hexagons.assign(cluster=hexagons["cluster"].where(named))
    return kept.loc[behind >= rule.min_patients, ["x", "y", "radius", "cluster"]].reset_index(drop=True)


def _stability(found: Outcome) -> dict[str, Any]:
    table = found.tables["table6_stability"].set_index("seed")
    indices, runs = ("silhouette", "davies_bouldin", "calinski_harabasz"), found.tables["table6_runs"]
    spread = {name: float(table.loc["cv", name]) for name in indices}  # pyright: ignore[reportArgumentType]
    return {
        "ari_mean": found.values["ari_mean"],
        "ari_least": found.values["ari_least"],
        "runs": len(runs),
        "clusters": runs["clusters"].tolist(),
        "cv": spread if len(runs) > 1 and all(np.isfinite(value) for value in spread.values()) else {},
    }


def _account(table: VisitTable, rule: Rule, visits: float) -> list[tuple[str, float]]:
    """Return what became of the rows; rows count as patients do.

    What was kept is told on the first page: where one of the other numbers is left out, so is what was read.
    """
    account = table.account
    lines = [("left out by filters of the mapping", account.filtered_out)]
    lines += [(f"dropped: {drop.rule}", drop.rows) for drop in account.dropped]
    told = [
        (words, rule.rounded(rows) if rows >= rule.min_patients else np.nan) for words, rows in lines if rows
    ]
    whole = np.nan if any(np.isnan(rows) for _, rows in told) else rule.rounded(account.rows_read)
    return [("read", whole), *told, ("kept", visits)]


def _about(outcomes: Mapping[str, Outcome], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "simulated": settings["visits"] is None,
        "source": None if settings["visits"] is None else str(settings["visits"]).rsplit("/", 1)[-1],
        "preset": settings["preset"],
        "seed": settings["seed"],
        "n_inputs": len(outcomes["cohort"].values["inputs"]),
        "n_clusters": settings["model"]["n_clusters"],
    }


class _Found(NamedTuple):
    """What a run has of some clusters: labels, tables of latents, what other seeds find, and the model."""

    labels: np.ndarray
    latents: Mapping[str, pd.DataFrame]
    seeds: dict[str, Any]
    model: dict[str, Any]


def _study(outcomes: Mapping[str, Outcome], settings: Mapping[str, Any]) -> _Found:
    tuned, model = outcomes["fine-tuning"], settings["model"]
    about = {name: tuned.values[name] for name in ("alive", "epochs", "converged")}
    about |= {name: model[name] for name in ("latent_dim", "noise_variance")}
    seeds = _stability(outcomes["stability"])
    return _Found(tuned.arrays["labels"], outcomes["latents"].tables, seeds, about)


def _robust(outcomes: Mapping[str, Outcome], settings: Mapping[str, Any]) -> _Found:
    found, configuration = outcomes["robust"], settings["robust"]
    labels, agreement = found.arrays["labels"], found.values["agreement"]
    about = {
        "alive": len(np.unique(labels)),
        "latent_dim": configuration["model"]["latent_dim"],
        "hidden": 100 * configuration["training"]["input_dropout"],
    }
    sound = agreement is None or agreement >= health.AGREEMENT
    # Each of many runs has latents of its own.
    return _Found(labels, {}, {**found.values, "sound": sound}, about)
