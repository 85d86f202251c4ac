"""A sweep is its lanes, each as it would be alone, and a ranking that anyone can recompute."""

import json
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import jvade
from jvade import clustering, ensemble, health, sweeps
from jvade.checkpoints import Checkpoints
from jvade.cli import main
from jvade.clustering import Configuration
from jvade.commands import sweep as sweeping
from jvade.commands.sweep import Over, told_apart
from jvade.core import fit, lanes, likelihoods
from jvade.core.fit import MixtureStart
from jvade.core.settings import Architecture, Block, Hyperparameters, Training
from jvade.sweeps import Sweep, combinations

EXAMPLES = Path(__file__).parents[1] / "examples"
BASE = Hyperparameters(n_clusters=3, kl_weight=0.5, patience=2)
OVER = {"noise_variance": (0.3, 0.1), "learning_rate": (3e-3, np.nan)}
SEEDS = (4, 5)
CONFIGURATION = Configuration(
    BASE,
    Training(batch_size=64, max_epochs=5, block_epochs=5),
    MixtureStart(n_rows=200, n_init=4, n_continued=1),
    widths=(8,),
)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Three clouds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4))[rng.integers(0, 3, 400)] * 2 + 0.3 * rng.normal(size=(400, 4))
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def found(x) -> Sweep:
    """Two noise variances with a rate that trains and one that cannot, two seeds each."""
    return jvade.sweep(x, OVER, seeds=SEEDS, configuration=CONFIGURATION)


def test_combinations_are_all_and_keep_the_rest():
    each = combinations(BASE, {"noise_variance": (0.1, 0.2), "n_clusters": (2, 3)})
    assert [(one.noise_variance, one.n_clusters) for one in each] == [(0.1, 2), (0.1, 3), (0.2, 2), (0.2, 3)]
    assert {one.kl_weight for one in each} == {0.5}
    assert combinations(BASE, {}) == [BASE]


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"noise": (1,)}, "noise: no such setting"),
        ({"patience": ()}, "got none"),
        ({"patience": (3, 4, 3)}, "each value once"),
    ],
)
def test_what_cannot_be_tried_is_refused(over, words):
    with pytest.raises(ValueError, match=words):
        combinations(BASE, over)


def test_each_row_is_the_training_it_names(x, found):
    """A lane alone, and its held-out ELBO at weight 1 from its parameters' own epoch."""
    stack = lanes.stack([5], BASE._replace(noise_variance=0.1, learning_rate=3e-3))
    sizes = Architecture(4, 2, 3, (8,))
    alone = fit.fit(jnp.asarray(x), stack, sizes, CONFIGURATION.training, CONFIGURATION.mixture)
    row = found.table.query("seed == 5 and noise_variance == 0.1 and learning_rate == 0.003").iloc[0]
    terms = jax.tree.map(lambda leaf: np.asarray(leaf[0]), alone.finetuned.history.validation)
    kl = terms.categorical_kl + terms.gaussian_cross_entropy - terms.posterior_entropy
    losses = 0.5 * kl - terms.reconstruction
    kept = np.argmin(losses)
    np.testing.assert_allclose(losses[kept], float(alone.finetuned.best_loss[0]), rtol=1e-6)
    np.testing.assert_allclose(row["elbo"], (terms.reconstruction - kl)[kept], rtol=1e-4)
    np.testing.assert_allclose(row["reconstruction"] - row["kl"], row["elbo"], rtol=1e-5)
    assert row["epochs"] == int(alone.pretrained.n_epochs[0]) + int(alone.finetuned.n_epochs[0])


def test_rank_is_by_the_mean_over_seeds_and_failures_come_last(found):
    table = found.table
    assert list(table.columns[:5]) == ["rank", "lane", "noise_variance", "learning_rate", "seed"]
    rates = np.asarray(found.lanes.hyperparameters.noise_variance)[table["lane"]]
    np.testing.assert_allclose(rates, table["noise_variance"], rtol=1e-6)
    assert table["rank"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    means = table.groupby("rank")["elbo"].mean()
    assert means[1] > means[2]
    assert table["finite"].tolist() == [True] * 4 + [False] * 4
    failed = table.loc[~table["finite"]]
    assert failed[["elbo", "kl", "smallest_share", "agreement"]].isna().all(axis=None)
    assert set(failed["clusters"]) == {0}
    assert len(found.failures) == 4
    assert found.failures[0].startswith("noise_variance 0.3, learning_rate nan, seed 4 went non-finite")


def test_agreement_and_sizes_are_those_of_the_labels(found):
    ours = found.table.query("noise_variance == 0.3 and learning_rate == 0.003")
    expected = adjusted_rand_score(*found.labels[ours["lane"]])
    np.testing.assert_allclose(ours["agreement"], expected, rtol=1e-12)
    for row in ours.itertuples():
        sizes = np.unique(found.labels[row.lane], return_counts=True)[1]
        assert row.clusters == len(sizes)
        np.testing.assert_allclose(row.smallest_share, 100 * sizes.min() / 400)


def test_the_summary_has_a_row_for_each_setting(found):
    summary = found.summary()
    assert summary["rank"].tolist() == [1, 2, 3, 4]
    one = found.table.query("rank == 1")
    np.testing.assert_allclose(summary.loc[0, "elbo"], one["elbo"].mean())
    np.testing.assert_allclose(summary.loc[0, "elbo_sd"], abs(np.diff(one["elbo"])[0]) / 2**0.5)
    assert summary.loc[0, "converged"] == one["converged"].all()
    assert summary.loc[0, ["behind", "behind_se"]].tolist() == [0, 0]
    differences = one["elbo"].to_numpy() - found.table.query("rank == 2")["elbo"].to_numpy()
    np.testing.assert_allclose(summary.loc[1, "behind"], differences.mean())
    np.testing.assert_allclose(summary.loc[1, "behind_se"], differences.std(ddof=1) / 2**0.5)
    assert summary.loc[2:, ["behind", "behind_se"]].isna().all(axis=None)
    assert summary.loc[0, "fewest_clusters"] == one["clusters"].min()


def test_settings_that_differ_by_less_than_chance_are_said_to():
    """By a t test of one side: with two seeds a difference has to be 6.3 of its errors, with ten 1.8."""
    summary = pd.DataFrame({"rank": [1, 2, 3], "behind": [0.0, 0.3, 0.9], "behind_se": [0.0, 0.1, 0.1]})
    assert "rank 1, 2 are not told apart" in told_apart(summary, 2)
    assert "ahead of every other" in told_apart(summary, 10)
    assert told_apart(summary, 1).startswith("one seed does not tell")
    assert "nothing to compare" in told_apart(summary[:1], 3)
    failed = summary.assign(behind=[0.0, np.nan, np.nan], behind_se=[0.0, np.nan, np.nan])
    assert "nothing to compare" in told_apart(failed, 3)
    assert "nothing to compare" in told_apart(failed.assign(behind=np.nan), 3)
    one_failed = summary.assign(behind=[0.0, 0.1, np.nan], behind_se=[0.0, 0.1, np.nan])
    assert "rank 1, 2 are not told apart" in told_apart(one_failed, 3)


def test_one_seed_agrees_with_nobody(x):
    alone = jvade.sweep(x, {}, seeds=(4,), configuration=CONFIGURATION)
    assert alone.table["rank"].tolist() == [1]
    assert alone.table["agreement"].isna().all()


def test_a_sweep_by_kind_trains_what_the_configuration_says(x):
    """Its lanes are runs of the configuration alone: kinds of columns as given, learned noise, quadrature.

    They are padded to the largest. A run of it as an estimator knows the kinds too.
    """
    code = np.digitize(x[:, 0], (0, 1))
    mixed = np.column_stack([x, code == 1, code == 2]).astype(np.float32)
    blocks = (Block("gaussian", 4), Block("categorical", 2))
    how = {"likelihood": "by-kind", "noise": "by-column", "responsibilities": "quadrature", "n_runs": 3}
    chosen = replace(CONFIGURATION, **how)
    over = {"latent_dim": (3, 2), "kl_weight": (0.5, 1.0)}
    found = jvade.sweep(mixed, over, seeds=(4,), configuration=chosen, blocks=blocks)
    assert found.architecture.blocks == blocks
    assert found.fit.finetuned.params.log_noise_variances.shape == (4, 4)
    for lane, weight in ((2, 0.5), (3, 1.0)):
        one = replace(chosen, model=BASE._replace(latent_dim=2, kl_weight=weight), n_runs=1)
        assert found.configurations[lane] == one
        alone = jvade.cluster(mixed, 3, 4, one, blocks=blocks)
        model = jvade.from_sweep(found, lane, mixed)
        assert adjusted_rand_score(model.labels_, alone.labels) > 0.99
        assert adjusted_rand_score(found.labels[lane], alone.labels) > 0.99
        np.testing.assert_allclose(model.support_, alone.support, atol=1e-2)
        at_means = ensemble.place(model.ensemble_._replace(responsibilities="mean"), mixed)[1]
        assert abs(at_means - alone.support).max() > 0.03
        # A share of 1 stands for what is missing.
        assert len(model.predict(np.where(mixed == 1, 0.4, mixed))) == 400
        assert model.set_params(max_epochs=1).fit(mixed).ensemble_.architecture.blocks == blocks
    # Of the last, whose KL weight is that of the ranking.
    best = float(alone.fit.finetuned.best_loss[0])
    np.testing.assert_allclose(found.table.set_index("lane").loc[lane, "elbo"], -best, rtol=1e-3)


def test_a_sweep_over_balance_is_ranked_by_the_bound_as_it_is(x):
    """What a balanced run was trained by is no bound to compare others with."""
    apart = x * np.array([0.3, 1, 1, 2], np.float32)
    found = jvade.sweep(apart, {"balance": (0.0, 1.0)}, seeds=(4,), configuration=CONFIGURATION)
    lane = np.arange(2), np.asarray(found.fit.finetuned.best_epoch)
    told = jax.tree.map(lambda term: np.asarray(term)[lane], found.fit.finetuned.history.validation)
    sizes = found.architecture, CONFIGURATION.training
    asked = lanes.validate(jnp.asarray(apart), found.fit.finetuned.params, found.lanes, "fine-tuning", *sizes)
    ours = found.table.sort_values("lane")
    np.testing.assert_allclose(ours["reconstruction"], asked.reconstruction, rtol=1e-6)
    apart_by = np.abs(ours["reconstruction"] - told.reconstruction)
    assert apart_by[0] < 1e-3 < 0.05 < apart_by[1]
    np.testing.assert_allclose(ours["elbo"], ours["reconstruction"] - ours["kl"], rtol=1e-6)


@pytest.mark.long
def test_the_health_of_a_run_of_a_sweep_is_by_its_own_balance(x):
    """And by its own noise variance: the spread of its losses as it was trained by them."""
    apart = np.column_stack([x * np.array([0.3, 1, 1, 2]), x[:, 0] > 0]).astype(np.float32)
    over = {"balance": (0.0, 1.0), "noise_variance": (0.1, 0.5)}
    by_kind = replace(CONFIGURATION, likelihood="by-kind")
    found = jvade.sweep(apart, over, seeds=(4,), configuration=by_kind)
    _, n_scored = CONFIGURATION.training.epoch_sizes(len(apart))
    blocks = found.architecture.all_blocks
    for lane in (0, 3):
        own = found.configurations[lane].model
        one = clustering.of_lane(apart, found.fit, found.lanes, lane, found.architecture, by_kind)
        weights, others = (
            np.asarray(likelihoods.balanced(jnp.asarray(apart), blocks, noise, own.balance))
            for noise in (own.noise_variance, 0.1)
        )
        told = [abs(weights - 1).max() > 0.1, abs(weights - others).max() > 0.1]  # balance and noise matter
        assert told == [lane == 3] * 2
        spread = ensemble.bounds(one.ensemble, apart, weights).std()
        error = health._gap_error(one, apart, apart)
        assert error == pytest.approx(spread / np.sqrt(n_scored), rel=1e-5)


def test_kinds_are_told_from_the_values_where_none_are_given(x):
    mixed = np.concatenate([x, (x[:, :1] > 0).astype(np.float32)], axis=1)
    found = jvade.sweep(mixed, {}, configuration=replace(CONFIGURATION, likelihood="by-kind"))
    assert found.architecture.blocks == (Block("gaussian", 4), Block("bernoulli", 1))


def test_the_command_line_knows_every_setting():
    assert {one.name for one in fields(Over)} == set(Hyperparameters._fields)


def test_rows_and_seeds_that_cannot_be_are_refused(x):
    with pytest.raises(ValueError, match="got 1 of 400 with a NaN"):
        jvade.sweep(np.where(np.arange(400)[:, None] == 7, np.nan, x), {}, configuration=CONFIGURATION)
    with pytest.raises(ValueError, match="seeds: expected each value once"):
        jvade.sweep(x, {}, seeds=(1, 1), configuration=CONFIGURATION)


@pytest.fixture
def flags(tmp_path) -> list[str]:
    """A small sweep of the example visits."""
    words = ["sweep", "--visits", EXAMPLES / "visits.csv", "--mapping", EXAMPLES / "visits.toml"]
    words += ["--out", tmp_path / "out", "--seeds", 1, 2, "--model.n-clusters", 9, "--mixture.n-init", 4]
    words += ["--over.noise-variance", 0.1, 0.3, "--training.max-epochs", 2, "--training.batch-size", 256]
    return [*map(str, words), "--training.block-epochs", "1"]


def test_the_command_stopped_goes_on_and_writes_the_table(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweeping, "Checkpoints", partial(Checkpoints, every=0))
    show, seen, stops = sweeping.show, [], [("fine-tuning", 1)]

    def stopping(terminal):
        def on_block(progress):
            seen.append((progress.stage, progress.epoch))
            show(terminal)(progress)
            if seen[-1] in stops:
                stops.clear()
                raise KeyboardInterrupt

        return on_block

    monkeypatch.setattr(sweeping, "show", stopping)
    with pytest.raises(SystemExit) as stopped:
        main(flags)
    assert stopped.value.code == 130
    assert "the same command goes on" in capsys.readouterr().out
    private = tmp_path / "out" / "private"
    assert private.stat().st_mode & 0o077 == 0
    assert list(private.glob("checkpoints/sweep/*/fine-tuning*"))
    assert not (tmp_path / "out" / "run.json").exists()

    seen.clear()
    main(flags)
    assert seen == [("pretraining", 2), ("fine-tuning", 1), ("fine-tuning", 2)]
    assert not private.exists()
    table = pd.read_csv(tmp_path / "out" / "sweep.csv")
    assert table["rank"].tolist() == [1, 1, 2, 2]
    assert set(table["noise_variance"]) == {0.1, 0.3}
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert manifest["files"] == ["sweep.csv", "metrics.jsonl"]
    assert manifest["settings"]["over"]["noise_variance"] == [0.1, 0.3]
    assert set(manifest["input"]) == {"visits", "mapping"}
    assert "The best of 2 settings, means of 2 seeds" in capsys.readouterr().out


class Asked(Exception):  # noqa: N818
    """What the command would train, and under which name it would keep it: no training is needed to tell."""


@pytest.fixture
def asked(monkeypatch):
    """Stop the command where the training would begin."""

    def stop(x, over, *, seeds, configuration, blocks, keeper, **_):
        assert (over, list(seeds), x.shape) == ({}, [1], (400, 4))
        raise Asked(configuration, configuration.architecture(x, blocks), keeper.folder.name)

    monkeypatch.setattr(sweeping, "sweeps", SimpleNamespace(**vars(sweeps) | {"sweep": stop}))


def test_the_command_asks_for_what_its_flags_say(tmp_path, asked):
    """And keeps apart what is trained otherwise, nothing else."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, 3, 400)
    frame = pd.DataFrame(
        {"a": rng.normal(5.0 * code), "dx_1": code == 1, "dx_2": code == 2, "flag": code < 2}
    )
    frame.to_parquet(tmp_path / "own.parquet")
    words = ["sweep", "--table", tmp_path / "own.parquet", "--seeds", 1, "--widths", 8]
    words += ["--training.max-epochs", 1, "--mixture.n-init", 2, "--out", tmp_path / "out"]
    by_kind = ["--likelihood", "by-kind", "--codes", "dx=dx_*"]

    def trained(*more):
        with pytest.raises(Asked) as found:
            main([*map(str, [*words, *more])])
        return found.value.args

    as_in_the_study, sizes, first = trained()
    assert (as_in_the_study.likelihood, sizes.blocks, as_in_the_study.training.batch_size) == (
        "gaussian",
        (),
        32,
    )
    robust, sizes, second = trained("--configuration", "robust", "--codes", "dx=dx_*", "--noise", "learned")
    assert sizes.blocks == (Block("gaussian", 1), Block("categorical", 2), Block("bernoulli", 1))
    ours = robust.training.input_dropout, robust.noise, robust.widths, robust.n_runs
    assert ours == (0.5, "learned", (8,), 1)
    *_, third = trained(*by_kind)
    *_, renamed = trained(*by_kind[:-1], "diagnosis=dx_*")
    *_, no_codes = trained(*by_kind[:-2])
    how, _, quadrature = trained("--responsibilities", "quadrature")
    assert how.responsibilities == "quadrature"
    full, sizes, in_full = trained("--covariance-type", "full")
    assert (full.covariance_type, sizes.covariance_type, as_in_the_study.covariance_type) == (
        "full",
        "full",
        "diag",
    )
    assert renamed == third
    assert quadrature == first
    assert len({first, second, third, no_codes, in_full}) == 5
    words[words.index("--widths") : words.index("--widths") + 2] = []
    assert [trained("--configuration", name)[1].widths for name in ("paper", "robust")] == [(256,), (32,)]


def test_any_table_can_be_swept_over(tmp_path, capsys):
    """Numbers and categories, by the columns named: as `jvade fit` reads them."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 400)
    frame = pd.DataFrame({"a": rng.normal(5.0 * group), "code": group + 100, "note": np.arange(400)})
    frame.to_csv(tmp_path / "own.csv", index=False)
    words = ["sweep", "--table", tmp_path / "own.csv", "--columns", "a", "code", "--categories", "code"]
    words += ["--out", tmp_path / "out", "--seeds", 1, "--over.n-clusters", 2, 3, "--widths", 8]
    words += ["--training.max-epochs", 2, "--training.batch-size", 64, "--mixture.n-init", 4]
    # What others are tried of need not be a setting that can be.
    words += ["--configuration", "robust", "--model.n-clusters", 0]
    main([*map(str, words)])
    assert pd.read_csv(tmp_path / "out" / "sweep.csv")["n_clusters"].tolist() in ([2, 3], [3, 2])
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert manifest["inputs"] == ["a", "code"]
    ours = [manifest["settings"][name] for name in ("likelihood", "training", "model")]
    assert (ours[0], ours[1]["input_dropout"], ours[2]["latent_dim"]) == ("by-kind", 0.5, 4)
    assert set(manifest["input"]) == {"table"}
    assert "400 rows, 2 columns\n  numbers: a\n  categories: code" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--table own.csv", "give either --visits with --mapping, or --table"),
        ("--columns age", "--columns, --categories, --codes: visits have those of their mapping"),
        (
            "--noise learned --over.noise-variance 0.1 1000",
            "noise_variance: where it is learned, it starts between 0.001 and 100, got 1000.0",
        ),
        ("--over.warmup-epochs 3", "warmup_epochs: expected at most max_epochs, 2, got 3"),
        (
            "--over.warmup-epochs 1 --over.annealing-cycles 2 3",
            "warmup_epochs: expected at most max_epochs, 2, got 1 in each of 3 cycles",
        ),
        ("--over.clip-norm 0", "clip_norm: expected above 0, got 0.0"),
        ("--over.learning-rate nan", "expected finite numbers"),
        ("--over.n-clusters 2001", "rows are too few for 2001 clusters"),
        ("--seeds 1 1", "--seeds: expected each once, got 1 1"),
        ("--seeds -1", "--seeds: expected at least 0, got -1"),
        ("--widths 0", "--widths: expected at least 1, got 0"),
        ("--mixture.n-init 0", "--mixture.n-init: expected at least 1, got 0"),
    ],
)
def test_the_command_refuses_what_cannot_be(flags, tmp_path, capsys, words, expected):
    with pytest.raises(SystemExit) as stopped:
        main([*flags, *words.split()])
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_small_table_is_swept_over_in_small_batches_as_it_is_fitted():
    """Of 400 rows an epoch has ten batches, not one."""
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    training = Training(max_epochs=1)
    found = sweeps.sweep(
        x, {"noise_variance": (0.1,)}, configuration=replace(CONFIGURATION, training=training)
    )
    assert found.configurations[0].training == training.for_rows(400)
    assert found.configurations[0].training.batch_size == 32
