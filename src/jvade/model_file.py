"""Model files: a fitted `VaDE` as one file of arrays and text, which cannot run code, and its card.

The format is safetensors, with a description (JSON) and a checksum in its metadata. Reading refuses what was
cut off, changed, or is no model of ours. A file of an older format is always read; one of a newer format is
refused by name of the version that wrote it. Within a format, fields may be added that change no prediction:
what a reader does not know it leaves aside. All else raises `FORMAT`.

Format 2 added likelihoods by kind, noise that is learned, `warmup_epochs` and `mixture_rate`. Format 3 added
responsibilities by quadrature, and 3 and 4 the hyperparameters that `ADDED` names. Settings that were None
before they were there (`pretraining_epochs`, `epoch_batches`) raise none. Format 5 added full covariances.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors import numpy as safetensors
from sklearn.utils.validation import check_is_fitted

from jvade import atomic, manifest
from jvade.analysis.consensus import Agreed
from jvade.clustering import Configuration
from jvade.columns import Column, Columns
from jvade.core import model as networks
from jvade.core.fit import MixtureStart
from jvade.core.model import Parameters
from jvade.core.settings import Architecture, Block, Hyperparameters, Training, whole
from jvade.data.errors import InputError
from jvade.ensemble import Ensemble
from jvade.estimator import NAMED, VaDE
from jvade.health import Health
from jvade.version import __version__

#: Raised where an older reader would misread the file.
FORMAT = 5
#: Settings that each format added, and what they were before it.
ADDED: dict[int, dict[str, float]] = {
    2: {"warmup_epochs": 0, "mixture_rate": 1.0},
    3: {"annealing_cycles": 1, "pretraining_kl_weight": 1.0, "occupancy_floor": 0.0, "repulsion": 0.0},
    4: {"balance": 0.0},
}
#: Name of the file that `jvade fit` writes in its folder.
NAME = "model.jvade"
#: Name of the description in the metadata, and of its checksum.
DESCRIPTION, CHECKSUM = "jvade", "sha256"
#: Fitted attributes that are arrays.
CLUSTERS = ("weights_", "means_", "covariances_")
#: How far two machines may differ in latents and responsibilities, which are float32, and in bounds (nats).
TOLERANCE, TOLERANCE_BOUND = 1e-4, 1e-3


def save(model: VaDE, path: Path | str, about: Mapping[str, Any] | None = None) -> Path:
    """Write a fitted model, and its card (Markdown) beside it; each appears whole or not at all.

    The labels of the rows it was fitted to are not in it.

    Args:
        model: fitted.
        path: the file; its card has the same name with `.md` after it.
        about: what else it should say of its data, as JSON holds it: fingerprints, the mapping; what a model
            that was loaded already said if not given.

    Raises:
        NotFittedError: the model is not fitted.
        InputError: a category is neither text nor a number.
    """
    check_is_fitted(model)
    path = Path(path)
    arrays = _arrays(model)
    try:
        said = about if about is not None else getattr(model, "about_", {})
        description = json.dumps(_describe(model, said), allow_nan=False)
    except (TypeError, ValueError):
        problem = "a setting, or a category of a column, is neither text nor a finite number"
        raise InputError([f"{problem}: such a model cannot be kept"], path.name) from None
    metadata = {DESCRIPTION: description, CHECKSUM: _checksum(description, arrays)}
    atomic.write(path, lambda file: file.write_bytes(safetensors.save(arrays, metadata)))
    text = card(json.loads(description))
    atomic.write(card_path(path), partial(Path.write_text, data=text, encoding="utf-8"))
    return path


def card_path(path: Path) -> Path:
    """Return where the card of a model file stands."""
    return path.with_name(f"{path.name}.md")


def load(path: Path | str) -> VaDE:
    """Return the model that `save` wrote, or the one in the folder of `jvade fit`: it predicts as that did.

    On the same machine and versions to the bit; on others latents and responsibilities are within 1e-4 and
    bounds within 1e-3, and a row that lies on a border of a run may change its side, and by that its
    cluster, its support and what a consensus says of its membership. `about_` is what was said of the data;
    `labels_`, `support_` and `linkage_` are not there.

    Raises:
        InputError: the file cannot be opened, was cut off or changed, is no model, or is of a newer format.
    """
    return _loaded(Path(path))[1]


def _loaded(path: Path) -> tuple[dict[str, Any], VaDE]:
    description, arrays = _read(path)
    try:
        card(description)  # so it is whole
        return description, _build(description, arrays)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, MemoryError):
        writer = description["versions"]["jvade"]
        problem = "what it says and the arrays it holds do not fit together, though its checksum is right"
        advice = f"it names jvade {writer} as its writer: read it with that, or make it anew"
        raise InputError([f"{problem}; {advice}"], path.name) from None


def describe(path: Path | str) -> dict[str, Any]:
    """Return what a model file says of itself; raises like `load`."""
    return _loaded(Path(path))[0]


def card(description: Mapping[str, Any]) -> str:
    """Return the model card: what it was made of, by which settings, how far to trust it, what it is for."""
    health, about = description["health"], description["about"]
    columns = pd.DataFrame(description["columns"])
    kinds = ", ".join(f"{n} {kind}" for kind, n in columns["kind"].value_counts().items())
    codes: dict[str, list[str]] = {}
    for column in description["columns"]:
        if of := column.get("code_of"):
            codes.setdefault(of, []).append(str(column["name"]))
    shares = ", ".join(f"{100 * share:.1f} %" for share in description["shares"])
    agreement = health["agreement"]
    lines = [
        "# Model card",
        "",
        f"A clustering by jvade {description['versions']['jvade']}: {description['n_clusters']} clusters of "
        f"{description['rows']:,} rows. Saved {description['saved']}.",
        "",
        "## Data",
        "",
        f"- {len(columns)} columns ({kinds}): {', '.join(map(str, columns['name']))}.",
        *(f"- codes of {of}: {', '.join(names)}." for of, names in codes.items()),
        *(f"- {name}: {_words(value)}" for name, value in about.items()),
        "- The file holds means, deviations and categories of columns, and shares of clusters: no row.",
        "",
        "## Settings",
        "",
        *(f"- {name}: {_words(value)}" for name, value in description["settings"].items()),
        f"- seed: {description['seed']}",
        "",
        "## How far to trust it",
        "",
        f"- Shares of the clusters: {shares}.",
        f"- Effective number of clusters: {health['effective_clusters']:.1f}.",
        "- One run: nothing is known of how other seeds would cluster."
        if agreement is None
        else f"- Runs: {len(health['runs'])}; two of them agree at a mean adjusted Rand index of "
        f"{agreement:.2f}; most runs disagree on {100 * health['doubtful']:.0f} % of the rows.",
        *(f"- Warning: {line}" for line in health["warnings"]),
        "",
        "## Intended use, and limits",
        "",
        "- To describe groups of rows such as visits. It is no tool for decisions about a person.",
        "- Clusters are a summary of these data under these settings, not a fact of nature.",
        "- The file tells how many rows each cluster had, and where it lies: one of few rows may give a "
        "person away, and nothing here suppresses it.",
        "- Rows from elsewhere or another time are placed in the cluster they fit best, however badly: look "
        "at the support of a row and at its bound (`score_samples`).",
        f"- On other machines and versions latents and responsibilities are the same within {TOLERANCE:g}, "
        f"bounds within {TOLERANCE_BOUND:g}; a row on a border of a run may change its cluster.",
        "",
    ]
    return "\n".join(lines)


def _words(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _checksum(description: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _arrays(model: VaDE) -> dict[str, np.ndarray]:
    made = model.ensemble_
    params = jax.tree.map(jnp.asarray, made.params).to_arrays()
    found = {f"params/{name}": np.asarray(leaf) for name, leaf in params.items()}
    found |= {f"hyperparameters/{name}": leaf for name, leaf in made.hyperparameters._asdict().items()}
    if made.agreed is not None:
        found |= {f"agreed/{name}": leaf for name, leaf in made.agreed._asdict().items()}
    found |= {name: getattr(model, name) for name in CLUSTERS}
    return {name: np.ascontiguousarray(leaf) for name, leaf in found.items()}


def _describe(model: VaDE, about: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: manifest.plain(value) for name, value in model.get_params().items()}
    given |= {"checkpoint": None, "on_block": None}
    for what, by_name in (("kinds", model.kinds), ("codes", model.codes)):  # names may be numbers
        if by_name is not None:
            given[what] = [[manifest.plain(name), one] for name, one in by_name.items()]
    if not isinstance(given["random_state"], int | None):
        given["random_state"] = model.seed_
    health, history = model.health_._asdict(), model.history_
    names = getattr(model, "feature_names_in_", None)
    made = model.ensemble_
    return {
        "format": FORMAT,
        "versions": manifest.versions(),
        "device": manifest.device(),
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "given": given,
        "settings": manifest.plain(model.configuration_),
        "named": {name: manifest.plain(one) for name, one in NAMED.items() if name == given["configuration"]},
        "columns": model.columns_.to_dict(),
        "n_features": model.n_features_in_,
        "feature_names": None if names is None else list(names),
        "rows": model.n_rows_,
        "architecture": asdict(made.architecture),
        "best": made.best,
        "seed": model.seed_,
        "n_clusters": model.n_clusters_,
        "shares": model.shares_.tolist(),
        "bics": [[int(k), bic if np.isfinite(bic) else None] for k, bic in model.bics_.items()],
        "n_iter": model.n_iter_,
        "health": health
        | {
            "agreement": None if np.isnan(model.health_.agreement) else model.health_.agreement,
            "runs": model.health_.runs.to_dict("records"),
        },
        "history": {name: column.tolist() for name, column in history.items()},
        "about": dict(about),
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    path = path / NAME if path.is_dir() else path
    try:
        raw = path.read_bytes()
    except OSError:
        unfinished = "; where a fit was stopped, its command goes on" if path.parent.is_dir() else ""
        raise InputError([f"the file cannot be opened; check the path{unfinished}"], path.name) from None
    foreign = "this is no model of jvade; name a file that jvade.save or 'jvade fit' wrote"
    try:
        arrays = safetensors.load(raw)
    except (SafetensorError, ValueError, KeyError, TypeError):
        problem = "this is no model of jvade, or it was cut off; name, or get again, a whole file"
        raise InputError([problem], path.name) from None
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    metadata = header.get("__metadata__") or {}
    try:
        text = metadata[DESCRIPTION]
        description = json.loads(text)
        number, writer = int(description["format"]), str(description["versions"]["jvade"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise InputError([foreign], path.name) from None
    if number > FORMAT:
        problem = (
            f"jvade {writer} wrote it in format {number}; this is jvade {__version__}, which reads up to"
        )
        raise InputError([f"{problem} {FORMAT}: install a newer jvade"], path.name)
    if metadata.get(CHECKSUM) != _checksum(text, arrays):
        problem = "its contents are not what was saved (by the checksum): it was changed or damaged"
        raise InputError([f"{problem}; get it again from where it was made"], path.name)
    return description, arrays


def _was(
    given: dict[str, Any], description: dict[str, Any], settings: Configuration, added: dict[str, Any]
) -> Configuration | str:
    """Return the named configuration, or what it was when the file was written: a second fit is of that kind.

    Files that do not say what it was have the settings of the fit.
    """
    name, named = given["configuration"], description.get("named", {})
    if name in named:
        was = _configuration(named[name], added)
        return name if was == NAMED[name] else was
    try:
        same = VaDE(**given).resolve(description["rows"]) == settings
    except ValueError:  # of a parameter that was set after the fit
        same = False
    return name if same else settings


def _build(description: dict[str, Any], arrays: dict[str, np.ndarray]) -> VaDE:
    given = _known(VaDE, description["given"])
    added: dict[str, Any] = {}
    for number, new in ADDED.items():
        added |= new if number > description["format"] else {}
    if isinstance(given["configuration"], dict):
        given["configuration"] = _configuration(given["configuration"], added)
    for what in ("kinds", "codes"):
        if given.get(what) is not None:  # codes are newer than the first files
            given[what] = dict(given[what])
    if given["widths"] is not None:
        given["widths"] = tuple(given["widths"])
    settings = _configuration(description["settings"], added)
    if isinstance(given["configuration"], str):
        given["configuration"] = _was(given, description, settings, added)
    model = VaDE(**given)

    def part(name: str) -> dict[str, np.ndarray]:
        return {
            key.removeprefix(f"{name}/"): leaf for key, leaf in arrays.items() if key.startswith(f"{name}/")
        }

    sizes = _known(Architecture, description["architecture"])
    blocks = tuple(Block(*block) for block in sizes.get("blocks", ()))
    architecture = Architecture(**{**sizes, "widths": tuple(sizes["widths"]), "blocks": blocks})
    params = jax.tree.map(np.asarray, Parameters.from_arrays(part("params")))
    stored = _known(Hyperparameters, part("hyperparameters"))
    n_runs = len(stored["n_clusters"])
    known: dict[str, Any] = {name: np.full(n_runs, value) for name, value in added.items()} | stored
    if missing := set(Hyperparameters._fields) - set(known):
        raise KeyError(*missing)
    agreed = Agreed(**_known(Agreed, part("agreed"))) if part("agreed") else None
    best = int(description["best"])
    model.configuration_ = settings
    hyperparameters = Hyperparameters(**known)
    model.ensemble_ = Ensemble(params, hyperparameters, architecture, agreed, best, settings.responsibilities)
    _check_shapes(model.ensemble_)
    for name in CLUSTERS:
        setattr(model, name, arrays[name])
    model.columns_ = Columns.from_dict([_known(Column, one) for one in description["columns"]])
    if model.columns_.width != architecture.n_features:
        raise ValueError("columns")
    model.checkpoint_ = None
    model.seed_, model.n_clusters_ = description["seed"], description["n_clusters"]
    model.n_iter_, model.n_rows_ = description["n_iter"], description["rows"]
    model.shares_ = np.array(description["shares"])
    if len(model.shares_) != model.n_clusters_ or len(model.weights_) != model.n_clusters_:
        raise ValueError("clusters")
    model.bics_ = {k: np.inf if bic is None else bic for k, bic in description["bics"]}
    health = _known(Health, description["health"])
    health["runs"] = pd.DataFrame(health["runs"])
    if health["agreement"] is None:
        health["agreement"] = float("nan")
    model.health_ = Health(**health)
    model.history_ = pd.DataFrame(description["history"])
    model.n_features_in_ = description["n_features"]
    if description["feature_names"] is not None:
        model.feature_names_in_ = np.array(description["feature_names"], object)
    model.about_ = description["about"]
    return model


def _known(kind: Callable[..., Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return of what a file says of something the fields that this version knows."""
    return {name: value for name, value in raw.items() if name in signature(kind).parameters}


def _configuration(raw: Mapping[str, Any], added: Mapping[str, Any]) -> Configuration:
    settings = {**added, **_known(Hyperparameters, raw["model"])}
    for name, default in Hyperparameters._field_defaults.items():
        if isinstance(default, int):  # 5.0 was as good once
            settings[name] = whole(settings[name])
    parts: dict[str, Any] = {
        "model": Hyperparameters(**settings),
        "training": Training(**_known(Training, raw["training"])),
        "mixture": MixtureStart(**_known(MixtureStart, raw["mixture"])),
        "widths": tuple(raw["widths"]),
    }
    return Configuration(**{**_known(Configuration, raw), **parts})


def _check_shapes(made: Ensemble) -> None:
    """Refuse arrays that are not those of the architecture."""
    n_runs = len(np.asarray(made.hyperparameters.n_clusters))
    want = networks.shapes(made.architecture, has_mixture=True)
    if not all(
        jax.tree.leaves(jax.tree.map(lambda leaf, one: leaf.shape == (n_runs, *one.shape), made.params, want))
    ):
        raise ValueError("shapes")
    if not 0 <= made.best < n_runs or {np.size(leaf) for leaf in made.hyperparameters} != {n_runs}:
        raise ValueError("runs")
    if made.agreed is not None:
        shares, owners = made.agreed
        sizes = n_runs, made.architecture.n_clusters
        if shares.ndim != 3 or (shares.shape[0], shares.shape[2]) != sizes or owners.shape != sizes:
            raise ValueError("consensus")
