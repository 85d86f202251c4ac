"""VaDE as a scikit-learn user meets it."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small import SMALL

import jvade
from jvade import PAPER, ROBUST, VaDE, clustering, ensemble, from_sweep, sweep
from jvade.columns import learn
from jvade.core.settings import Block


def test_three_groups_are_found(fitted, table):
    frame, group = table
    assert adjusted_rand_score(group, fitted.labels_) > 0.95
    np.testing.assert_array_equal(fitted.predict(frame), fitted.labels_)
    np.testing.assert_array_equal(fitted.predict_proba(frame).argmax(axis=1), fitted.labels_)
    assert fitted.feature_names_in_.tolist() == frame.columns.tolist()
    assert fitted.n_clusters_ == 3


def test_it_is_the_clustering_of_the_encoded_rows(table):
    """Nothing comes between: the same settings and seed give what `clustering.cluster` gives."""
    frame, _ = table
    model = VaDE(3, configuration="paper", random_state=5, **SMALL).fit(frame)
    found = clustering.cluster(model.columns_.encode(frame), 3, 5, model.resolve(len(frame)))
    np.testing.assert_array_equal(found.labels, model.labels_)
    np.testing.assert_array_equal(found.support, model.support_)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"configuration": "robust", "n_init": 2}, id="robust"),
        pytest.param({"configuration": "paper"}, id="paper", marks=pytest.mark.long),
    ],
)
def test_a_second_fit_of_one_shape_compiles_nothing(compiled, settings, monkeypatch):
    monkeypatch.setattr("jvade.health.GAP", -np.inf)  # it asks for bounds, where else the gap says whether
    rows = np.random.default_rng(0).normal(size=(2, 300, 4))
    settings = SMALL | settings
    VaDE(3, random_state=1, **settings).fit(rows[0])
    assert any("run_block" in name for name in compiled)
    compiled.clear()
    VaDE(3, random_state=2, **settings).fit(rows[1])
    assert compiled == []


def test_settings_are_those_of_the_configuration_unless_given():
    for configuration in (ROBUST, PAPER):
        chosen = replace(configuration, training=replace(configuration.training, batch_size=1024))
        found = VaDE(configuration.model.n_clusters, configuration=configuration).resolve(10**6)
        assert found == chosen
    assert VaDE(15).resolve(10**6) == VaDE(15, configuration="robust").resolve(10**6)
    own = VaDE(
        noise_variance=0.3, balance=0.4, max_epochs=9, widths=(8, 4), n_init=2, batch_size=100
    ).resolve(10**6)
    assert own == replace(
        ROBUST,
        model=ROBUST.model._replace(noise_variance=0.3, balance=0.4),
        training=replace(ROBUST.training, max_epochs=9, batch_size=100),
        widths=(8, 4),
        n_runs=2,
    )


def test_a_run_has_no_fewer_components_than_clusters_are_asked_for():
    assert VaDE(30).resolve(10**6).model.n_clusters == 30
    assert VaDE(range(2, 21)).resolve(10**6).model.n_clusters == 20
    assert VaDE(3, n_components=9).resolve(10**6).model.n_clusters == 9


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "components"), [(10**5, 1024, 15), (2_000, 64, 15), (90, 32, 9)]
)
def test_few_rows_get_small_batches_and_few_components(n_rows, batch_size, components):
    found = VaDE(3).resolve(n_rows)
    assert (found.training.batch_size, found.model.n_clusters) == (batch_size, components)


def test_the_attributes_agree_with_each_other(fitted, table):
    frame, _ = table
    latents = fitted.transform(frame)
    for name, shape in (("weights_", (3,)), ("means_", (3, 2)), ("covariances_", (3, 2))):
        assert getattr(fitted, name).shape == shape
    assert fitted.weights_.sum() == pytest.approx(1)
    np.testing.assert_allclose(fitted.weights_, np.bincount(fitted.labels_) / len(frame), atol=0.05)
    centers = np.stack([latents[fitted.labels_ == k].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(fitted.means_, centers, atol=0.5)
    assert set(fitted.history_["stage"]) == {"pretraining", "fine-tuning"}
    assert fitted.n_iter_ == (fitted.history_["run"] == fitted.ensemble_.best + 1).sum()
    assert (np.diff(np.bincount(fitted.labels_)) <= 0).all()


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_bic_is_that_of_scikit_learn_with_the_same_parameters(single, single_full, table, kind):
    frame, _ = table
    single = single if kind == "diag" else single_full
    want = GaussianMixture(3, covariance_type=kind)
    want.weights_, want.means_, want.covariances_ = single.weights_, single.means_, single.covariances_
    assert single.covariances_.shape == ((3, 2) if kind == "diag" else (3, 2, 2))
    want.precisions_cholesky_ = _compute_precision_cholesky(single.covariances_, kind)
    assert single.bic(frame) == pytest.approx(want.bic(single.transform(frame)), rel=1e-4)
    as_table = copy.copy(single).set_output(transform="pandas")
    assert isinstance(as_table.transform(frame), pd.DataFrame)
    assert as_table.bic(frame) == single.bic(frame)


@pytest.mark.long
def test_full_covariances_of_a_consensus_are_those_of_its_rows(consensus, table):
    """The spread of the means of its rows, and what each is unsure of in the mean; off the diagonal too."""
    full = clone(consensus).set_params(covariance_type="full").fit(table[0])
    posterior = full._ask(ensemble.encode, table[0])
    for k in range(3):
        means = posterior.means[full.labels_ == k].astype(float)
        unsure = np.exp(posterior.log_variances[full.labels_ == k].astype(float)).mean(axis=0)
        want = (means - means.mean(axis=0)).T @ (means - means.mean(axis=0)) / len(means)
        np.testing.assert_allclose(full.covariances_[k], want + np.diag(unsure), rtol=1e-5, atol=1e-8)
    assert np.abs(full.covariances_[:, 0, 1]).min() > 1e-4


def test_scores_are_means_and_find_the_odd_row(fitted, table):
    frame, _ = table
    each = fitted.score_samples(frame)
    assert fitted.score(frame) == pytest.approx(each.mean(), rel=1e-6)
    assert fitted.score(frame, sample_weight=np.arange(600)) == pytest.approx(
        np.average(each, weights=np.arange(600)), rel=1e-6
    )
    odd = frame.head(1).assign(age=20.0, cost=5_000.0)
    assert fitted.score_samples(odd)[0] < np.quantile(each, 0.01)


def test_what_comes_back_has_the_form_of_what_went_in(fitted, table):
    frame, group = table
    back = fitted.inverse_transform(fitted.transform(frame))
    assert back.columns.tolist() == frame.columns.tolist()
    assert (back["level"] == frame["level"]).mean() > 0.95
    assert np.corrcoef(back["age"].astype(float), frame["age"])[0, 1] > 0.9
    drawn, labels = fitted.sample(500)
    assert drawn.columns.tolist() == frame.columns.tolist()
    assert labels.shape == (500,)
    np.testing.assert_allclose(np.bincount(labels, minlength=3) / 500, np.bincount(group) / 600, atol=0.15)
    with pytest.raises(ValueError, match="n_samples: expected at least 1, got 0"):
        fitted.sample(0)


def test_an_array_in_is_an_array_out(table):
    x = table[0][["age", "cost", "female"]].to_numpy()
    model = VaDE(2, configuration="paper", random_state=0, **SMALL).fit(x)
    assert isinstance(model.inverse_transform(model.transform(x)), np.ndarray)
    assert isinstance(model.sample(3)[0], np.ndarray)


def test_a_range_of_clusters_is_chosen_from_by_bic(table):
    model = VaDE(range(2, 5), configuration="paper", random_state=0, **SMALL).fit(table[0])
    assert set(model.bics_) == {2, 3, 4}
    assert model.n_clusters_ == min(model.bics_, key=model.bics_.get)


def test_pickled_and_cloned(fitted, table):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(table[0]), fitted.predict_proba(table[0]))
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    assert not hasattr(fresh, "labels_")


def test_in_a_pipeline_with_names_out(table):
    frame = table[0][["age", "cost", "female"]].fillna(0)
    steps = make_pipeline(StandardScaler(), VaDE(2, configuration="paper", random_state=0, **SMALL))
    steps.set_output(transform="pandas")
    latents = steps.fit_transform(frame)
    assert latents.columns.tolist() == ["vade0", "vade1"]
    assert len(steps.predict(frame)) == 600


def test_a_grid_search_by_the_bound(table):
    search = GridSearchCV(
        VaDE(3, configuration="paper", random_state=0, **SMALL), {"noise_variance": [0.1, 3.0]}, cv=2
    )
    search.fit(table[0])
    assert search.best_params_ == {"noise_variance": 0.1}


@pytest.mark.bitwise
def test_a_stopped_fit_goes_on(table, tmp_path, monkeypatch):
    """Stopped by its own hook in the fine-tuning, it ends where an undisturbed fit ends, to the bit."""
    monkeypatch.setattr("jvade.checkpoints.EVERY", 0.0)
    frame, _ = table
    whole = VaDE(3, configuration="paper", random_state=3, **SMALL).fit(frame)
    seen = []

    def stop(progress):
        seen.append((progress.stage, progress.begun, progress.epoch))
        if progress.stage == "fine-tuning" and progress.epoch >= 10 and len(seen) < 20:
            raise KeyboardInterrupt

    with pytest.raises(ValueError, match="checkpoint: needs a random_state"):
        clone(whole).set_params(checkpoint=tmp_path, random_state=None).fit(frame)
    model = clone(whole).set_params(checkpoint=tmp_path, on_block=stop)
    with pytest.raises(KeyboardInterrupt):
        model.fit(frame)
    with pytest.raises(NotFittedError):  # nothing of an earlier fit is left with half of this one
        model.predict(frame)
    n_before = len(seen)
    seen += [("", 0, 0)] * 20  # and now let it go on
    model.fit(frame)
    assert seen[n_before + 20] == ("pretraining", 40, 40)
    assert seen[n_before + 21] == ("fine-tuning", 10, 10)
    np.testing.assert_array_equal(model.predict_proba(frame), whole.predict_proba(frame))
    # It stays: what comes after may fail too. The same fit has nothing to train then.
    (kept,) = tmp_path.iterdir()
    seen.clear()
    seen += [("", 0, 0)] * 20
    model.fit(frame)
    assert seen[20:] == [("pretraining", 40, 40), ("fine-tuning", 40, 40)]
    assert [*tmp_path.iterdir()] == [kept]
    assert model.checkpoint_ == kept.resolve()


def test_a_fit_that_is_stopped_keeps_what_it_has_however_short_it_was(table, tmp_path):
    frame, _ = table
    seen = []

    def stop(progress):
        seen.append((progress.stage, progress.begun, progress.epoch))
        if len(seen) == 3:
            raise KeyboardInterrupt

    model = VaDE(3, configuration="paper", random_state=3, checkpoint=tmp_path, on_block=stop, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        model.fit(frame)
    assert seen[-1] == ("pretraining", 0, 10)
    model.fit(frame)
    assert seen[3] == ("pretraining", 10, 10)


def test_a_kept_state_is_that_of_the_same_kinds_of_columns(tmp_path, monkeypatch):
    """One matrix as two 0/1 columns and as a category of two: two models."""
    monkeypatch.setattr("jvade.checkpoints.EVERY", 0.0)
    group = np.arange(120) % 3
    two = pd.DataFrame({"a": (group == 0).astype(int), "b": (group == 1).astype(int)})
    one = pd.DataFrame({"c": pd.Series(group).map({0: "x", 1: "y"})})
    np.testing.assert_array_equal(*(learn(frame).encode(frame) for frame in (two, one)))
    begun = []

    def stop(progress):
        begun.append(progress.begun)
        if progress.epoch:
            raise KeyboardInterrupt

    model = VaDE(2, configuration="paper", likelihood="by-kind", random_state=0, checkpoint=tmp_path, **SMALL)
    model.set_params(max_epochs=2, on_block=stop)
    for frame in (two, one, two):
        with pytest.raises(KeyboardInterrupt):
            model.fit(frame)
    assert begun == [0, 0, 0, 0, 2]
    assert len(list(tmp_path.iterdir())) == 2


def test_no_text_of_an_array_is_shown():
    with pytest.raises(ValueError, match="expected an array of numbers") as caught:
        VaDE(2).fit(np.array([["Zhang San", 1], ["Li Si", 2]], object))
    assert "Zhang" not in str(caught.value)


def test_progress_is_said(table, capsys):
    VaDE(3, configuration="paper", random_state=0, verbose=True, **SMALL).fit(table[0])
    assert "fine-tuning: 40/40 epochs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"configuration": "bold"}, "expected one of robust, paper or a Configuration, got 'bold'"),
        ({"n_clusters": 0}, "n_clusters: expected"),
        ({"n_clusters": 601}, "n_clusters: expected 1 to the number of rows"),
        ({"n_clusters": 2.5}, r"a whole number, at least 1, or several to choose from, got 2\.5"),
        ({"noise_variance": -1.0}, "noise_variance: expected above 0, got -1.0"),
        ({"n_init": 0}, "n_init: expected a whole number, at least 1, got 0"),
        ({"n_clusters": "auto"}, "n_clusters: expected a whole number.*, got 'auto'"),
        ({"n_clusters": []}, r"n_clusters: expected a whole number.*, got \[\]"),
        ({"n_clusters": None}, "n_clusters: expected a whole number.*, got None"),
        ({"n_components": 2.5}, r"n_components: expected a whole number, at least 1, got 2\.5"),
        ({"n_init": 2.5}, r"n_init: expected a whole number, at least 1, got 2\.5"),
        ({"widths": 16}, r"widths: expected one or more whole numbers, at least 1, such as \(256,\), got 16"),
        ({"widths": (16, 0)}, r"widths: expected .*, got \(16, 0\)"),
        ({"learning_rate": "fast"}, "learning_rate: expected a number, at least 0, got 'fast'"),
        ({"random_state": -1}, "random_state: expected a whole number from 0 to 4294967295, got -1"),
        ({"random_state": 2**32}, "random_state: expected .*, got 4294967296"),
        ({"noise": "learned", "noise_variance": 1e-4}, "it starts between 0.001 and 100"),
        ({"kinds": {"weight": "numeric"}}, "kinds: no such columns: weight"),
        ({"kinds": 5}, "kinds: expected kinds by name of a column, got int"),
        (
            {"configuration": None},
            "configuration: expected one of robust, paper or a Configuration, got None",
        ),
        ({"learning_rate": np.inf}, "expected finite numbers"),
        (
            {"validation_fraction": np.nan},
            "validation_fraction: expected a number, above 0, below 1, got nan",
        ),
    ],
)
def test_settings_that_cannot_be_are_named(table, settings, words):
    with pytest.raises(ValueError, match=words):
        VaDE(**{"n_clusters": 3} | SMALL | settings).fit(table[0])


def test_columns_of_another_table_are_refused(fitted, table):
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(table[0].rename(columns={"age": "years"}))
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        clone(fitted).fit(table[0].head(1))
    with pytest.raises(ValueError, match="at least 1 row, got 0"):
        fitted.predict(table[0].head(0))


def test_numbers_of_numpy_are_numbers(table):
    chosen = VaDE(np.array([3, 4]), n_init=np.int64(2), widths=np.array([8]), batch_size=np.int32(64))
    assert chosen.resolve(600).widths == (8,)
    assert chosen.resolve(600).n_runs == 2
    assert VaDE(np.int64(3)).resolve(600) == VaDE(3).resolve(600) == VaDE(3.0).resolve(600)
    # As `np.linspace` gives them.
    wholes = {"n_init": 2, "n_components": 4, "latent_dim": 2, **SMALL}
    floats = {name: (16.0,) if name == "widths" else float(value) for name, value in wholes.items()}
    model = VaDE(3.0, random_state=0, **floats).fit(table[0])
    assert model.configuration_ == VaDE(3, **wholes).resolve(600)


@pytest.mark.parametrize(
    "values",
    [
        np.array([41.5, 17.25]),
        np.array([["41.5"], ["Zhang"]], object),
        np.array([[41.5 + 1j], [17.25]]),
    ],
)
def test_a_refusal_shows_no_value(values):
    with pytest.raises(ValueError, match="array") as caught:
        VaDE().fit(values)
    assert not any(value in str(caught.value) for value in ("41.5", "17.25", "Zhang"))


def test_a_column_that_tells_nothing_is_told_of(table):
    frame = table[0].assign(same=3.0, few=np.where(np.arange(600) < 5, 12.5, np.nan))
    model = VaDE(2, configuration="paper", random_state=0, **SMALL | {"max_epochs": 2}).fit(frame)
    what = "columns that tell nothing, with fewer than 8 rows unlike the rest: same, few"
    assert what in model.health_.warnings


def test_categories_that_a_model_does_not_know_are_told_of_by_their_number(fitted, table):
    frame = table[0]
    with pytest.warns(UserWarning, match="'level': 300 of 600 rows have a category that the model") as told:
        fitted.predict(frame.assign(level=np.where(np.arange(600) < 300, "clinic", frame["level"])))
    assert "clinic" not in str(told[0].message)
    assert told[0].filename == __file__
    fitted.predict(frame.assign(level=np.where(np.arange(600) < 30, "clinic", frame["level"])))  # a few


def test_a_numpy_table_gives_the_same_as_a_frame_of_it(table):
    x = table[0][["age", "cost", "female"]]
    models = [VaDE(2, configuration="paper", random_state=0, **SMALL).fit(t) for t in (x, x.to_numpy())]
    np.testing.assert_array_equal(models[0].labels_, models[1].labels_)


def test_a_run_of_a_sweep_is_an_estimator(table):
    """Padded to the largest of the sweep, it is what a fit alone gives."""
    alone = VaDE(2, configuration="paper", random_state=4, **SMALL | {"max_epochs": 5}).fit(table[0])
    x, chosen = alone.columns_.encode(table[0]), alone.resolve(600)
    over = {"n_clusters": (2, 4), "latent_dim": (2, 3)}
    found = sweep(x, over, seeds=(3, 4), configuration=chosen)
    lane = int(found.table.query("n_clusters == 2 and latent_dim == 2 and seed == 4")["lane"].iloc[0])
    model = from_sweep(found, lane, x)
    assert adjusted_rand_score(model.labels_, alone.labels_) > 0.99
    np.testing.assert_allclose(model.means_, alone.means_, atol=1e-2)
    np.testing.assert_allclose(model.weights_.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(model.score(x), alone.score(table[0]), atol=1e-2)
    np.testing.assert_array_equal(model.predict(x), model.labels_)
    assert model.transform(x).shape == (600, 2)
    assert (model.seed_, model.random_state, model.get_params()["n_clusters"]) == (4, 4, 2)
    with pytest.raises(ValueError, match="expected a sound one of the 8, got 8"):
        from_sweep(found, 8, x)


@pytest.fixture(scope="module")
def by_kind(table):
    """A model whose 0/1 columns and categories have likelihoods of their own, and every number its noise."""
    settings = {"configuration": "paper", "likelihood": "by-kind", "noise": "by-column", "random_state": 0}
    return VaDE(3, codes={"eye": "diagnosis", "skin": "diagnosis"}, **settings, **SMALL).fit(coded(table))


def coded(table):
    """Return the table with two columns more, codes of one variable."""
    frame, group = table
    return frame.assign(eye=(group == 1).astype(int), skin=(group == 2).astype(int))


def test_columns_have_likelihoods_of_their_kind(by_kind, table, tmp_path):
    frame, group = coded(table), table[1]
    assert by_kind.ensemble_.architecture.blocks == (
        Block("gaussian", 2),
        Block("bernoulli", 2),
        Block("categorical", 3),
        Block("categorical", 2),
    )
    noises = np.exp(by_kind.ensemble_.params.log_noise_variances)
    assert noises.shape == (1, 2)  # age and cost
    assert adjusted_rand_score(group, by_kind.labels_) > 0.9
    drawn, _ = by_kind.sample(2000)
    assert set(drawn["female"]) == {0, 1}
    diagnoses = drawn[["eye", "skin"]].astype(int).sum(axis=1)
    assert set(diagnoses) == {0, 1}
    assert diagnoses.mean() == pytest.approx((group > 0).mean(), abs=0.1)
    assert set(drawn["level"].dropna()) == {"community", "secondary", "tertiary"}
    shares = drawn["level"].value_counts(normalize=True)
    assert shares.sum() == pytest.approx(1)
    for level, share in frame["level"].value_counts(normalize=True).items():
        assert shares[level] == pytest.approx(share, abs=0.1)
    decoded = by_kind.inverse_transform(by_kind.transform(frame))
    assert decoded["female"].astype(float).between(0, 1).all()
    again = jvade.load(jvade.save(by_kind, tmp_path / "model.jvade"))
    np.testing.assert_array_equal(again.predict(frame), by_kind.labels_)
    np.testing.assert_array_equal(again.score_samples(frame), by_kind.score_samples(frame))
    assert again.codes == by_kind.codes
    assert again.columns_ == by_kind.columns_


def test_likelihoods_that_do_not_exist_are_refused(table):
    with pytest.raises(ValueError, match="likelihood: expected one of gaussian, by-kind, got 'poisson'"):
        VaDE(likelihood="poisson").fit(table[0])
    with pytest.raises(ValueError, match="noise: expected one of fixed, learned, by-column, got 'none'"):
        VaDE(noise="none").fit(table[0])
