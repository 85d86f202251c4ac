"""The same visits by our own configuration, whose row stands beside the study's methods in Table 5."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jvade import clustering, health
from jvade.analysis.comparison import number_by_cross_rate
from jvade.core.settings import Block, joined
from jvade.data.variables import Variable
from jvade.paper.stage import Outcome, Stage, Study
from jvade.paper.stages import cohort


def blocks(inputs: Sequence[Variable]) -> tuple[Block, ...]:
    """Return the likelihoods of the inputs, where they are by kind: codes of one variable share a softmax."""
    each = [Block("gaussian" if one.kind == "numeric" else "bernoulli", 1) for one in inputs]
    return joined(each, [one.code_of for one in inputs])


def compute(study: Study) -> Outcome:
    """Cluster the visits, and say how far that can be trusted."""
    settings, visits = study.settings, cohort.load(study)
    told, kept = study.told("robust"), study.checkpoints("robust")
    kinds = blocks(visits.table.inputs)
    found = clustering.cluster(
        visits.x, settings.model.n_clusters, settings.seed, settings.robust, told, kept, kinds
    )
    report = health.examine(found, visits.x)
    labels = number_by_cross_rate(found.labels, visits.table.outcome)
    placed = {
        "row": visits.table.frame["row"],
        "cluster": labels.astype(np.int16),
        "support": found.support,
    }
    return Outcome(
        {"robust_runs": report.runs.drop(columns="nats")},
        {
            "runs": len(found.sound),
            "clusters_of_a_run": found.ensemble.architecture.n_clusters,
            "linkage": found.linkage,
            # In digits that tell no size of a small cluster.
            "agreement": None if np.isnan(report.agreement) else round(report.agreement, 2),
            "doubtful": round(report.doubtful, 2),
        },
        {"labels": labels},
        {"robust_labels": pd.DataFrame(placed)},
        tuple(report.warnings),
    )


STAGE = Stage(
    "robust",
    "beyond the study: a consensus of runs",
    ("cohort",),
    ("seed", "model", "robust"),
    compute,
)
