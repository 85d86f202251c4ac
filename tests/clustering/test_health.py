"""The health report: its numbers against brute force, and a warning for each thing that can be wrong."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from jvade import clustering, ensemble, health
from jvade.core.model import Posterior
from jvade.core.settings import Block


def test_nats_are_the_mutual_information_of_a_linear_gaussian_latent():
    """z = x + noise, of variance 3 and 1: log(4) / 2; a latent of noise alone tells nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, np.sqrt(3), 200_000)
    means = np.column_stack([x, np.zeros_like(x)])
    told = health.nats(Posterior(means, np.zeros_like(means)))
    np.testing.assert_allclose(told, [0.5 * np.log(4), 0], atol=0.01)


def test_the_numbers_are_those_of_the_clustering(groups, found):
    report = health.examine(found, groups[0])
    shares = np.bincount(found.labels) / 600
    assert report.clusters == 3
    assert report.smallest_share == shares.min()
    assert report.effective_clusters == pytest.approx(np.prod(shares**-shares))
    pairs = [adjusted_rand_score(found.runs[i], found.runs[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert report.agreement == pytest.approx(np.mean(pairs))
    assert report.doubtful == np.mean(found.support < 0.5)
    assert report.runs["run"].tolist() == [1, 2, 3]
    assert (report.runs["used_latents"] > 0).all()
    assert report.runs["overlap"].between(0, 0.75).all()
    history = found.fit.finetuned.history
    kept = int(found.fit.finetuned.best_epoch[1])
    gap = history.train.elbo()[1, kept] - history.validation.elbo()[1, kept]
    assert report.runs["gap"][1] == pytest.approx(float(gap), abs=1e-5)


def test_every_warning_says_what_to_change(groups, found):
    def warnings(one, gap_error=0.0, **columns):
        whole = health.examine(one, groups[0])
        return " | ".join(health._warnings(one, whole._replace(runs=whole.runs.assign(**columns)), gap_error))

    assert "3 of 5 clusters hold a thousandth of the rows: the runs tell no more" in warnings(
        found._replace(n_clusters=5)
    )
    rng = np.random.default_rng(0)
    assert "only, so support says less than it seems to; try likelihood by-kind" in warnings(
        found._replace(runs=rng.integers(0, 4, found.runs.shape))
    )
    sizes = found.ensemble.architecture
    by_kind = replace(sizes, blocks=(Block("bernoulli", 6),))
    kinds = found._replace(ensemble=found.ensemble._replace(architecture=by_kind))
    said = [
        health._warnings(one, health.examine(found, groups[0])._replace(agreement=0.1), 0.0)
        for one in (found, kinds)
    ]
    assert ["by-kind" in " ".join(lines) for lines in said] == [True, False]
    assert "run 1, 3: no latent depends on the row" in warnings(found, used_latents=[0, 1, 0])
    assert "0.30 nats worse than those trained on" in warnings(found, gap=[0.2, 0.3, 0.4])
    assert "trained on" in warnings(found, gap_error=0.17, gap=[0.3, 0.3, 0.3])
    assert "trained on" not in warnings(found, gap_error=0.18, gap=[0.3, 0.3, 0.3])  # as chance has it
    assert "trained on" not in warnings(found, gap=[1.5, 0.3, -0.9])  # the runs themselves say: chance
    assert "trained on" not in warnings(found, gap=[0.09, 0.09, 0.09])  # too little to matter
    # Of a consensus the epochs are part of the configuration.
    assert "max_epochs" not in warnings(found, converged=[False, True, False])
    assert "run 2 broke" in warnings(found._replace(failures=["run 2 broke"]))
    ones = np.zeros(600, int)
    ones[:61] = 1
    assert "one cluster holds" not in warnings(found._replace(labels=ones))
    ones[60] = 0
    assert "one cluster holds 90 % of the rows" in warnings(found._replace(labels=ones))
    # Runs of which none depends on the row have a line of their own.
    assert "have collapsed" not in warnings(found, used_latents=[1, 1, 0], nats=[[0.5, 0.0, 0.0]] * 3)
    three = [[0.5, 0.0, 0.0]] * 3
    assert "1.0 of 3 latents depend on the row" in warnings(found, used_latents=1, nats=three)
    assert "have collapsed" not in warnings(found, used_latents=[1, 2, 2], nats=three)
    sound = warnings(found, converged=True, gap=0.0)
    assert "trained on" not in sound
    assert ("agree at a mean ARI" in sound) == (health.examine(found, groups[0]).agreement < health.AGREEMENT)
    same = found._replace(runs=np.tile(found.runs[:1], (3, 1)))
    assert "agree at a mean ARI" not in warnings(same)
    assert "have collapsed" not in sound


def test_the_error_of_a_gap_is_that_of_the_mean_of_so_many_rows(groups, found):
    few, many = groups[0], np.tile(groups[0], (100, 1))
    bounds = ensemble.bounds(found.ensemble, few)
    assert health._gap_error(found, few, few) == pytest.approx(bounds.std() / np.sqrt(120))
    assert health._gap_error(found, few, many) == pytest.approx(bounds.std() / np.sqrt(12_000))


def test_a_single_run_says_that_it_is_one(groups, small):
    one = clustering.cluster(groups[0], 4, 0, replace(small, n_runs=1))
    report = health.examine(one, groups[0])
    assert np.isnan(report.agreement)
    assert any("this is one run" in line for line in report.warnings)
    assert not any("components overlap" in line for line in report.warnings)
    lines = health._warnings(one, report._replace(runs=report.runs.assign(overlap=0.6)), 0.0)
    assert any("highest responsibility of a row is 0.40 on average" in line for line in lines)
    assert report.lines[1].startswith(f"the run has {report.runs['clusters'][0]} clusters and uses")


def test_the_report_reads_as_lines(groups, found):
    report = health.examine(found, groups[0])
    runs = report.runs.assign(
        clusters=[3, 4, 4], used_latents=2, overlap=[0.1, 0.2, 0.3], gap=[-0.5, 0.0, 0.25]
    )
    first, second = report._replace(runs=runs, effective_clusters=2.94, smallest_share=0.0061).lines
    assert first == "effective number of clusters 2.9 of 3, the smallest 0.6 % of the rows"
    assert second == (
        "3 runs have 3 to 4 clusters and use 2 of 2 latents; components overlap by 0.10 to 0.30; the loss of"
        " rows held out is above that of the others by -0.50 to 0.25 nats"
    )
