"""Model files: what goes in comes out, and nothing else is read."""

import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from safetensors import numpy as safetensors
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import jvade
from jvade import ROBUST, VaDE, ensemble, manifest, model_file
from jvade.core.fit import MixtureStart
from jvade.core.objective import elbo_terms
from jvade.data.errors import InputError

#: A model of each format there has been, with rows and what it said of them when it was written.
OLD = sorted((Path(__file__).parent / "models").glob("*.jvade"))


@pytest.fixture
def saved(fitted, tmp_path):
    return jvade.save(fitted, tmp_path / "one.jvade", {"visits": {"sha256": "12ab"}})


def test_what_comes_back_predicts_the_same(fitted, saved, table):
    frame, _ = table
    again = jvade.load(saved)
    for ask in ("predict", "predict_proba", "transform", "score_samples"):
        np.testing.assert_array_equal(getattr(again, ask)(frame), getattr(fitted, ask)(frame))
    assert again.get_params() == fitted.get_params()
    assert again.about_ == {"visits": {"sha256": "12ab"}}
    assert again.columns_ == fitted.columns_
    assert again.configuration_ == fitted.configuration_
    for name in ("shares_", "weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fitted, name))
    for name in ("n_clusters_", "n_iter_", "n_rows_", "n_features_in_", "seed_", "bics_"):
        assert getattr(again, name) == getattr(fitted, name)
    pd.testing.assert_frame_equal(again.history_, fitted.history_, check_dtype=False)
    pd.testing.assert_frame_equal(again.health_.runs, fitted.health_.runs)
    assert again.health_.warnings == fitted.health_.warnings
    assert not hasattr(again, "labels_")
    assert again.sample(3)[0].columns.tolist() == frame.columns.tolist()
    # And it can be kept again.
    twice = jvade.load(jvade.save(again, saved.with_name("two.jvade")))
    np.testing.assert_array_equal(twice.predict(frame), fitted.predict(frame))
    assert twice.about_ == again.about_


def test_responsibilities_by_quadrature_are_kept(single, table, tmp_path):
    """They change no training, and what is loaded has them too."""
    model = clone(single).set_params(responsibilities="quadrature").fit(table[0])
    for got, want in zip(*(jax.tree.leaves(one.ensemble_.params) for one in (model, single)), strict=True):
        np.testing.assert_array_equal(got, want)
    told = model.predict_proba(table[0])
    np.testing.assert_array_equal(model.support_, told.max(axis=1))
    assert np.abs(told - single.predict_proba(table[0])).max() > 1e-5  # the groups lie far apart
    again = jvade.load(jvade.save(model, tmp_path / "one.jvade"))
    np.testing.assert_array_equal(again.predict_proba(table[0]), told)


def test_numbers_of_numpy_can_be_kept(table, single, tmp_path):
    """Settings as a grid search over `np.arange` sets them."""
    model = clone(single).set_params(latent_dim=np.int64(2), n_clusters=np.int64(3), max_epochs=2)
    model.set_params(checkpoint=tmp_path / "kept").fit(table[0])
    again = jvade.load(jvade.save(model, tmp_path / "one.jvade"))
    assert again.get_params()["n_clusters"] == 3
    model.bics_ = {2: np.inf, 3: 1.0}
    assert jvade.load(jvade.save(model, tmp_path / "one.jvade")).bics_ == model.bics_


def test_another_process_predicts_the_same(single, tmp_path, table):
    frame, _ = table
    jvade.save(single, tmp_path / "one.jvade")
    frame.to_pickle(tmp_path / "rows.pkl")
    ask = "jvade.load('one.jvade').predict(pandas.read_pickle('rows.pkl')).tolist()"
    code = f"import jvade, pandas; print({ask})"
    source = Path(jvade.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(source), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == single.predict(frame).tolist()


def test_no_row_is_in_the_file(single, table, tmp_path):
    """Numbers that occur nowhere else, a rare category: in no form can any of them be found."""
    cost = np.arange(600) * 7919.0 + 123_457
    frame = table[0].assign(cost=cost, level=np.where(np.arange(600) < 7, "Zhang San", table[0]["level"]))
    model = clone(single).fit(frame)
    path = jvade.save(model, tmp_path / "one.jvade")
    raw = path.read_bytes() + path.with_name("one.jvade.md").read_bytes()
    assert b"Zhang" not in raw
    for values in (cost, model.columns_.encode(frame)[:, 1]):
        for dtype in (np.float32, np.float64):
            # Not whole numbers of few bits, which any array may hold by chance.
            assert not any(value.tobytes() in raw for value in values.astype(dtype) if value)
    numbers = set(re.findall(rb"(?<![\d.])\d{6,7}(?![\d])", raw))
    assert not numbers & {str(int(value)).encode() for value in cost}


def bounds_by_draws(model, rows):
    """Return the bounds as they were once: the mean over 16 draws."""
    made, x = model.ensemble_, jnp.asarray(model.columns_.encode(rows))
    half = np.random.default_rng(0).normal(size=(8, made.architecture.latent_dim))
    params, settings = jax.tree.map(jnp.asarray, made.run(made.best))
    each = [
        elbo_terms(params, x, jnp.tile(noise, (len(x), 1)), made.architecture, settings).elbo()
        for noise in np.concatenate([half, -half]).astype(np.float32)
    ]
    return np.mean(each, axis=0)


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_file_of_an_earlier_version_is_read(path, tmp_path):
    kept = json.loads(path.with_suffix(".json").read_text())
    rows = pd.DataFrame(kept["rows"])
    model = jvade.load(path)
    np.testing.assert_allclose(model.predict_proba(rows), kept["memberships"], atol=model_file.TOLERANCE)
    np.testing.assert_allclose(model.transform(rows), kept["latents"], atol=model_file.TOLERANCE)
    if "bounds" in kept:  # by draws, up to format 4
        bounds = bounds_by_draws(model, rows)
        np.testing.assert_allclose(bounds, kept["bounds"], atol=model_file.TOLERANCE_BOUND)
        np.testing.assert_allclose(model.score_samples(rows), bounds, atol=0.2)
    if "scores" in kept:
        np.testing.assert_allclose(model.score_samples(rows), kept["scores"], atol=model_file.TOLERANCE_BOUND)
    assert model.n_clusters_ == 3
    # What it was too old to know is as it was then.
    if path.stem == "format1":
        assert model.configuration_.likelihood == "gaussian"
        assert set(np.asarray(model.ensemble_.hyperparameters.mixture_rate)) == {1.0}
        assert model.configuration_.model.warmup_epochs == 0
    else:
        assert set(np.asarray(model.ensemble_.hyperparameters.mixture_rate)) == {0.5}
        assert model.configuration_.model.warmup_epochs == 2
        assert [block.likelihood for block in model.ensemble_.architecture.blocks][1:] == [
            "bernoulli",
            "categorical",
        ]
    settings, made = model.configuration_, model.ensemble_
    new = [settings.model.annealing_cycles, settings.model.pretraining_kl_weight]
    new += [settings.model.occupancy_floor, set(np.asarray(made.hyperparameters.repulsion))]
    old = path.stem in ("format1", "format2")
    assert new == ([1, 1.0, 0.0, {0.0}] if old else [2, 0.5, 0.1, {0.5}])
    assert made.responsibilities == ("mean" if old else "quadrature")
    balanced, full = path.stem in ("format4", "format5"), path.stem == "format5"
    assert settings.model.balance == (0.4 if balanced else 0)
    assert made.architecture.covariance_type == settings.covariance_type == ("full" if full else "diag")
    assert ensemble.mixture(made)[2].shape[1:] == ((2, 2) if full else (2,))
    assert model.covariances_.shape == ((3, 2, 2) if full else (3, 2))
    again = clone(model).resolve(model.n_rows_)  # a second fit is to be of the same kind
    assert (again.likelihood, again.model.balance) == (settings.likelihood, settings.model.balance)
    jvade.save(model, path := tmp_path / "again.jvade")
    np.testing.assert_array_equal(jvade.load(path).predict_proba(rows), model.predict_proba(rows))


def test_every_format_has_its_file():
    assert [path.stem for path in OLD] == [f"format{n}" for n in range(1, model_file.FORMAT + 1)]


def test_every_changed_byte_is_noticed(saved):
    """A hundred places at random, and every place of the first two hundred."""
    raw = saved.read_bytes()
    places = [*range(200), *np.random.default_rng(0).integers(0, len(raw), 100)]
    for place in places:
        changed = bytearray(raw)
        changed[place] ^= 0x20
        saved.write_bytes(changed)
        with pytest.raises(InputError, match=r"no model of jvade|changed or damaged|newer jvade"):
            jvade.load(saved)


def test_a_file_cut_off_is_refused(saved):
    raw = saved.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(raw) // 2, len(raw) - 1):
        saved.write_bytes(raw[:length])
        with pytest.raises(InputError, match="no model of jvade, or it was cut off"):
            jvade.load(saved)


def test_files_of_others_are_refused_and_run_nothing(tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return print, ("the trap was run",)

    path = tmp_path / "other.jvade"
    contents = {
        "pickle": pickle.dumps(Trap()),
        "text": b"age,cost\n1,2\n",
        "no description": safetensors.save({"a": np.zeros(3)}),
        "no JSON": safetensors.save({"a": np.zeros(3)}, {"jvade": "hello"}),
        "a list": safetensors.save({"a": np.zeros(3)}, {"jvade": "[1]"}),
    }
    for raw in contents.values():
        path.write_bytes(raw)
        with pytest.raises(InputError, match="this is no model of jvade"):
            jvade.load(path)
    with pytest.raises(InputError, match="cannot be opened"):
        jvade.load(tmp_path / "absent.jvade")
    assert "trap" not in capsys.readouterr().out


def rewrite(path, change):
    """Change a file's description and arrays, and make its checksum right again."""
    description, arrays = model_file._read(path)
    change(description, arrays)
    text = json.dumps(description)
    metadata = {"jvade": text, "sha256": model_file._checksum(text, arrays)}
    path.write_bytes(safetensors.save(arrays, metadata))


def test_a_newer_format_names_the_version_that_wrote_it(saved):
    rewrite(saved, lambda d, _: d.update(format=model_file.FORMAT + 1, versions={"jvade": "9.1"}))
    with pytest.raises(InputError, match=r"jvade 9\.1 wrote it in format \d.* install a newer jvade"):
        jvade.load(saved)


def test_what_a_later_version_adds_is_left_aside(saved, fitted, table):
    def add(description, arrays):
        names = ("given", "settings", "architecture", "health")
        parts = [description, *(description[name] for name in names)]
        parts += [description["settings"][name] for name in ("model", "training", "mixture")]
        for part in [*parts, *description["columns"]]:
            part["colour"] = "blue"
        arrays["more"] = arrays["hyperparameters/colour"] = arrays["hyperparameters/n_clusters"]

    rewrite(saved, add)
    again = jvade.load(saved)
    np.testing.assert_array_equal(again.predict(table[0]), fitted.predict(table[0]))
    assert again.get_params() == fitted.get_params()


def test_a_file_of_before_likelihoods_by_kind_were_robust_is_fitted_again_as_it_was(saved):
    def before(description, _):
        description["given"].update(configuration="robust", likelihood=None)
        del description["named"], description["given"]["codes"], description["settings"]["likelihood"]
        for name in ("pretraining_epochs", "epoch_batches"):  # robust runs are short since
            del description["settings"]["training"][name]

    rewrite(saved, before)
    again = jvade.load(saved)
    assert clone(again).resolve(again.n_rows_) == again.configuration_
    assert again.configuration_.likelihood == "gaussian"
    assert again.configuration_.training.epoch_batches is None


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        lambda one: one,
        lambda one: replace(one, widths=(256,)),
        lambda one: replace(one, mixture=MixtureStart(max_rows=100_000)),
        lambda one: replace(one, model=one.model._replace(balance=0.25)),
    ],
)
def test_a_file_of_when_robust_was_another_is_fitted_again_as_it_was(saved, change, said):
    was, model = change(ROBUST), VaDE(7, kl_weight=2.0)
    settings = []

    def before(description, _):
        model.set_params(n_clusters=description["given"]["n_clusters"])
        settings.append(change(model.resolve(description["rows"])))
        description.update(given=model.get_params(), settings=manifest.plain(settings[0]))
        description["named"] = {"robust": manifest.plain(was)}
        if not said:  # older files do not say it
            del description["named"]

    rewrite(saved, before)
    again = jvade.load(saved)
    assert clone(again).resolve(again.n_rows_) == again.configuration_ == settings[0]
    assert (again.configuration == "robust") == (was == ROBUST)
    default = again.set_params(kl_weight=None).resolve(again.n_rows_)
    assert default.model.kl_weight == (ROBUST.model.kl_weight if said or was == ROBUST else 2.0)


def test_the_settings_kept_are_those_of_the_fit(single, table, tmp_path):
    model = clone(single).set_params(max_epochs=2).fit(table[0])
    model.set_params(max_epochs=3, kl_weight=2.0)
    path = jvade.save(model, tmp_path / "one.jvade")
    assert model_file.describe(path)["settings"]["training"]["max_epochs"] == 2
    assert jvade.load(path).configuration_ == model.configuration_


@pytest.mark.parametrize(
    "change",
    [
        lambda d, _: d.pop("columns"),
        lambda d, _: d["columns"].pop(),
        lambda d, _: d["given"].pop("configuration"),
        lambda d, _: d["settings"]["model"].update(noise_variance="a"),
        lambda d, _: d["architecture"].update(noise="loud"),
        lambda d, _: d.update(best=7),
        lambda d, _: d.update(best=1e999),
        lambda d, _: d["architecture"].update(latent_dim=10**400),
        lambda d, _: d["columns"][0].update(scale="a"),
        lambda d, _: d["columns"][0].update(kind="foo"),
        lambda d, _: d.update(n_clusters=99),
        lambda d, _: d.update(shares=[None]),
        lambda d, _: d.update(about=5),
        lambda d, _: d["health"].update(warnings=5),
        lambda _, a: a.update({"params/encoder/means/kernel": np.zeros((1, 2, 3), np.float32)}),
        lambda _, a: a.pop("hyperparameters/n_clusters"),
        lambda _, a: a.pop("hyperparameters/noise_variance"),
        lambda _, a: a.pop("hyperparameters/mixture_rate"),
        lambda _, a: a.update({"agreed/shares": np.zeros((1, 2, 3)), "agreed/owners": np.zeros((1, 2))}),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(saved, change):
    rewrite(saved, change)
    with pytest.raises(InputError, match=r"do not fit together.*names jvade \d+\.\d+\.\d+ as its writer"):
        jvade.load(saved)


def test_a_save_that_fails_leaves_the_file_before(saved, fitted, monkeypatch):
    before = saved.read_bytes()

    def full(self, data):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        jvade.save(fitted, saved)
    assert saved.read_bytes() == before
    assert sorted(path.name for path in saved.parent.iterdir()) == ["one.jvade", "one.jvade.md"]


def test_what_cannot_be_kept_is_said(single, tmp_path):
    with pytest.raises(NotFittedError):
        jvade.save(VaDE(3), tmp_path / "one.jvade")
    with pytest.raises(InputError, match="neither text nor a finite number"):
        jvade.save(single, tmp_path / "one.jvade", {"when": pd.Timestamp("2024-01-01")})
    assert not list(tmp_path.iterdir())


def test_the_card_says_what_matters(saved, fitted):
    card = saved.with_name("one.jvade.md").read_text()
    for words in ("# Model card", "600 rows", "age, cost, female, insured, level", "noise_variance", "12ab"):
        assert words in card
    assert all(line in card for line in fitted.health_.warnings)
    assert ("One run" in card) == (fitted.ensemble_.agreed is None)
