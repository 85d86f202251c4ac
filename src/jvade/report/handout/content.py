"""What the report prints: every number has passed the disclosure rule before it comes here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pandas as pd

from jvade.analysis.disclosure import Rule
from jvade.analysis.types import CareType, Figure

#: What all places but the most common are called together, where there are many.
OTHERS = "other places"
#: Whose clusters: of the study's two-stage VaDE, or what the runs of `robust` agree on.
Whose = Literal["study", "robust"]


class Fact(NamedTuple):
    """A figure that tells a cluster from all visits.

    Args:
        variable: of the profile.
        figure: of the cluster and of all visits.
        effect: their difference, in standard deviations of the visits.
    """

    variable: str
    figure: Figure
    effect: float


@dataclass(frozen=True)
class Cluster:
    """A cluster as it is handed on.

    Args:
        name: its number.
        visits: rounded.
        patients: rounded; NaN where unknown.
        figures: of its profile, by variable; NaN of a code that has no row there, for few patients have it.
        facts: those that tell it apart most, the strongest first.
        care_type: the type it is of; None if no type of the list fits.
        undecided: whether one might fit, if figures were told that are left out.
    """

    name: str
    visits: float
    patients: float
    figures: Mapping[str, Figure]
    facts: Sequence[Fact]
    care_type: CareType | None
    undecided: bool


@dataclass(frozen=True)
class Handout:
    """Everything that a report prints.

    Args:
        rule: of disclosure.
        protected: whether the rule leaves anything out.
        by_rate: whether the clusters are numbered by their cross rates; else by size.
        has_patients: False where records are counted instead.
        visits: all of them, rounded.
        patients: all of them, rounded; NaN where unknown.
        clusters: that may be shown, by number.
        left_out: how many have too few patients to be shown.
        profile: a row per variable: group, variable, label, unit, a column per cluster, overall, cv; no row
            of a code of which no number may be told.
        flows: a row per flow and cluster ("all" among them): cluster, from_node, to_node, step (1: from
            residence, 2: to the level), visits; NaN where left out.
        nodes: a row per node: cluster, step (0 residence, 1 destination, 2 level), node, label, visits.
        hexagons: of the map: x, y, radius, cluster (NaN: of none alone); None with one latent, or many runs.
        traversal: what the decoder makes of each latent around a cluster; None if the run has none.
        whose: clusters.
        stability: what was found of other seeds, by name.
        rows: what became of the rows: words and how many, rounded.
        about: where the visits come from, settings and versions, by name.
    """

    rule: Rule
    protected: bool
    by_rate: bool
    has_patients: bool
    visits: float
    patients: float
    clusters: Sequence[Cluster]
    left_out: int
    profile: pd.DataFrame
    flows: pd.DataFrame
    nodes: pd.DataFrame
    hexagons: pd.DataFrame | None
    traversal: pd.DataFrame | None
    whose: Whose
    stability: Mapping[str, Any]
    rows: Sequence[tuple[str, float]]
    about: Mapping[str, Any]
