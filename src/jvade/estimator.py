"""VaDE as scikit-learn's users know clusterings: fit, predict, transform, score."""

import hashlib
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from jvade import clustering, ensemble, health, manifest
from jvade.checkpoints import Checkpoints
from jvade.clustering import PAPER, ROBUST, Clustering, Configuration, Linkage
from jvade.columns import MANY_UNKNOWN, Column, Columns, Kind, kinds_of, learn
from jvade.core import em
from jvade.core.lanes import Progress
from jvade.core.settings import Block, Covariance, Noise, Responsibilities, unlike, whole
from jvade.sweeps import Sweep

#: The configurations that have a name.
NAMED = {"robust": ROBUST, "paper": PAPER}
#: Rows for each component of a mixture, where there are few of them.
ROWS_PER_COMPONENT = 10
#: Seeds are below: as those of NumPy.
SEEDS = 2**32

Table = Float[np.ndarray, "N F"] | pd.DataFrame


class VaDE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Deep probabilistic clustering: a variational autoencoder with a Gaussian mixture as its prior.

    Columns are brought to one scale by themselves: numbers get a z-score, 0/1 columns stay, categories get a
    0/1 column each. A missing number counts as the mean of the known ones, a missing category as none.

    Every setting that is None is that of the configuration: "robust" takes what 24 short runs, each of
    narrow networks and 15 components, agree on, with likelihoods by kind (docs/method.md), "paper" is one run
    with the settings of the study (section 2.3).

    Args:
        n_clusters: clusters, or several numbers to choose from by BIC of a mixture on the latents.
        configuration: "robust", "paper", or a `jvade.Configuration`.
        n_init: runs from seeds of their own; of several, the answer is their consensus.
        n_components: components of the mixture of a run, where the answer is a consensus; the mixture of a
            single run has `n_clusters`. At most a tenth of the rows, but no fewer than the clusters.
        latent_dim: latents.
        widths: hidden widths of the encoder; the decoder mirrors them.
        likelihood: "gaussian" for all columns, or "by-kind": numbers Gaussian, 0/1 columns Bernoulli, the
            categories of a column, and the `codes` of a variable, under a softmax.
        noise: variance of the Gaussian columns: "fixed", or "learned", one for all, or one "by-column".
        noise_variance: of the decoder, in squared standardised units; where it is learned, its start.
        kl_weight: factor of the KL terms in training.
        balance: how far the variables count alike in training, from 0, as the likelihood has them, to 1,
            alike but for rare codes.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        clip_norm: largest norm of a gradient.
        patience: epochs without a better validation loss before a stage stops.
        max_epochs: epochs of each stage at most; those of "robust" have 32 batches at most, and its
            pretraining 20 of them. For longer ones give a configuration of your own, such as
            `replace(jvade.ROBUST, training=replace(jvade.ROBUST.training, pretraining_epochs=40))`.
        batch_size: rows of a step; "auto" is that of the configuration, where it has one, else 1024, or of a
            small table so few that all of its rows make 16 to 31 batches, and 32 at least.
        validation_fraction: share of the rows held out for early stopping.
        input_dropout: share of the inputs hidden from the encoder in training.
        responsibilities: of a row in a run: at the posterior "mean", or their expectation over q(z|x) by
            "quadrature".
        covariance_type: of the components of a run: "diag", as in the study, or "full": the latents may go
            together within a component.
        linkage: how a consensus joins groups: "average", "ward", which makes clusters of like size, or
            "best": "ward" where that keeps more of runs it has not seen. A single run has nothing to join.
        kinds: "numeric", "binary" or "categorical" of some columns, by name (by place, if they have none); of
            the others it is seen from their values.
        codes: the variable that a 0/1 column is one code of, by name of the column, as
            `{"eye": "diagnosis", "skin": "diagnosis"}`: those of one variable stand side by side, and share a
            softmax where the likelihood is by kind. No row should have two of them.
        random_state: seed of every draw; the same number gives the same clusters on the same machine.
        checkpoint: folder that keeps the state of the training every half minute, where ctrl-C stops it, and
            after ten seconds the end of each stage; the same fit of the same rows, from the same
            random_state, goes on from there. It stays when the fit is done, for whatever comes after may fail
            too; remove it when the model is safe.
        on_block: called with a `Progress` after every few epochs; see `jvade.hooks`.
        verbose: say how far the training is.

    Attributes:
        labels_: cluster of each row of the fit, 0 to K-1 by falling size.
        shares_: share of the rows of the fit in each cluster, (K,).
        n_rows_: rows of the fit.
        support_: of each row in [0, 1]: the share of the runs that agree on its cluster, of a single run the
            responsibility.
        linkage_: how the groups of a consensus were joined, "average" or "ward"; None of a single run.
        n_clusters_: clusters of the answer.
        bics_: BIC of each number of clusters that there was to choose from.
        weights_: share of each cluster, (K,): of a single run, of its mixture; of a consensus, of the rows.
        means_: center of each cluster in the latents, (K, L): likewise, in the best run.
        covariances_: variance of each latent in each cluster, (K, L), or, if full, how the latents go
            together there, (K, L, L): likewise.
        n_iter_: epochs of the best run, both stages.
        history_: a row per run, stage and epoch: losses and terms of the ELBO, nats per row, by the
            likelihood as it is trained, balanced or not.
        health_: how far the clustering can be trusted, with `warnings` that say what to change.
        columns_: what becomes of each column.
        configuration_: every setting of the fit.
        checkpoint_: folder that has the state of this fit; None if none is kept.
        ensemble_: networks and mixtures of all runs; `ensemble_.best` is the run of the lowest validation
            loss, whose latents, bounds and draws stand for all.
        seed_: that every draw descended from.
        n_features_in_: columns of the fit.
        feature_names_in_: their names, if they had any.
        about_: what a model file says of its data, where it was read from one.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray
    about_: dict[str, Any]
    configuration_: Configuration
    checkpoint_: Path | None

    def __init__(
        self,
        n_clusters: int | Sequence[int] = 7,
        *,
        configuration: Literal["robust", "paper"] | Configuration = "robust",
        n_init: int | None = None,
        n_components: int | None = None,
        latent_dim: int | None = None,
        widths: tuple[int, ...] | None = None,
        likelihood: Literal["gaussian", "by-kind"] | None = None,
        noise: Noise | None = None,
        noise_variance: float | None = None,
        kl_weight: float | None = None,
        balance: float | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        clip_norm: float | None = None,
        patience: int | None = None,
        max_epochs: int | None = None,
        batch_size: int | Literal["auto"] = "auto",
        validation_fraction: float | None = None,
        input_dropout: float | None = None,
        responsibilities: Responsibilities | None = None,
        covariance_type: Covariance | None = None,
        linkage: Linkage | None = None,
        kinds: Mapping[Hashable, Kind] | None = None,
        codes: Mapping[Hashable, str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        checkpoint: str | Path | None = None,
        on_block: Callable[[Progress], None] | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.configuration = configuration
        self.n_init = n_init
        self.n_components = n_components
        self.latent_dim = latent_dim
        self.widths = widths
        self.likelihood = likelihood
        self.noise = noise
        self.noise_variance = noise_variance
        self.kl_weight = kl_weight
        self.balance = balance
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.patience = patience
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.input_dropout = input_dropout
        self.responsibilities = responsibilities
        self.covariance_type = covariance_type
        self.linkage = linkage
        self.kinds = kinds
        self.codes = codes
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.on_block = on_block
        self.verbose = verbose

    def fit(self, X: Table, y: Any = None) -> "VaDE":
        """Cluster the rows of a table.

        Args:
            X: rows, (N, F), N at least 2: numbers, or a DataFrame that may have categories too.
            y: ignored.

        Raises:
            ValueError: a setting that cannot be, or a table that cannot be used; never shows a value.
            TrainingError: no run stayed finite.
        """
        # What is left of an earlier fit would go with half of this one, were it stopped.
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        table = self._table(X, reset=True)
        self.columns_ = learn(table, self.kinds, self.codes)
        try:
            self.columns_.check()
        except ValueError as error:
            if not self.columns_.width:
                raise
            warnings.warn(f"{error}: these clusters are by chance", stacklevel=2)  # scikit-learn fits such
        rows = self.columns_.encode(table)
        self.configuration_ = chosen = self.resolve(len(rows))
        self.seed_, numbers = self._seed(), self._numbers()
        blocks = self.columns_.blocks
        kept = self._keeper(rows, chosen, numbers, blocks)
        self.checkpoint_ = None if kept is None else kept.folder
        found = clustering.cluster(rows, numbers, self.seed_, chosen, self._hook(), kept, blocks)
        for failure in found.failures:
            warnings.warn(failure, stacklevel=2)
        self._keep(found, rows)
        return self

    def predict(self, X: Table) -> Int[np.ndarray, " N"]:
        """Return the cluster of each row, as `labels_` has them."""
        return self._ask(ensemble.place, X)[0].astype(np.int32)

    def predict_proba(self, X: Table) -> Float[np.ndarray, "N K"]:
        """Return how much each row belongs to each cluster; rows sum to 1, `predict` gives the largest.

        Of a single run these are the responsibilities, q(c|x): p(c|z) at the posterior mean (Jiang et al.
        2017, Eq. 16), or over the whole posterior (`responsibilities`). Of a consensus they are
        co-association with the members of each cluster, of its sum: how often the runs put the row together
        with them, which is no probability of a type.
        """
        return self._ask(ensemble.memberships, X)

    def transform(self, X: Table) -> Float[np.ndarray, "N L"]:
        """Return the latents of each row: the means of q(z|x) in the best run."""
        return np.asarray(self._ask(ensemble.encode, X).means)

    def inverse_transform(self, X: Float[np.ndarray, "N L"]) -> Table:
        """Return what the best run decodes latents to, in the units of the fit.

        A DataFrame where the fit had one, else an array. Of a 0/1 column it is the mean, of categories the
        likeliest, or none.
        """
        check_is_fitted(self)
        return self._named(ensemble.decode(self.ensemble_, np.asarray(X)))

    def score_samples(self, X: Table) -> Float[np.ndarray, " N"]:
        """Return the ELBO of each row in the best run: a lower bound of its log-density, nats.

        It is of the standardised columns, so it compares settings on one table, not tables; and not
        likelihoods, as a density of 0/1 columns is no probability. `balance` has no part in it: balanced
        training does not aim at this bound, so choose that by how far seeds agree. Nor has `n_clusters`
        where the answer is a consensus: its runs have `n_components` clusters each; give it several numbers.
        """
        return self._ask(ensemble.bounds, X)

    def score(self, X: Table, y: Any = None, sample_weight: Float[np.ndarray, " N"] | None = None) -> float:
        """Return the mean ELBO of the rows, higher is better; see `score_samples`."""
        return float(np.average(self.score_samples(X), weights=sample_weight))

    def bic(self, X: Table) -> float:
        """Return the BIC of the mixture of the best run on the latents of rows, lower is better (Fig 4).

        Of a consensus it is that of a run's `n_components`, whatever `n_clusters`; see `bics_`.
        """
        # Not `transform`, of which `set_output` may make a table.
        latents, mixture = self._ask(ensemble.encode, X).means, ensemble.prior(self.ensemble_)
        _, bic, _ = em.criteria(jnp.asarray(latents), mixture, *mixture.means.shape)
        return float(bic)

    def sample(self, n_samples: int = 1) -> tuple[Table, Int[np.ndarray, " N"]]:
        """Return rows drawn from the best run in the units of the fit, and their clusters.

        Every column is drawn as the model has it: under a Gaussian likelihood normal about its mean, 0/1
        columns and counts too. The cluster is the component drawn from, and where the answer is a consensus,
        the one that the row is placed in.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"n_samples: expected at least 1, got {n_samples}")
        rows, component = ensemble.draw(self.ensemble_, n_samples, self._seed())
        labels = component if self.ensemble_.agreed is None else ensemble.place(self.ensemble_, rows)[0]
        return self._named(rows), labels.astype(np.int32)

    def resolve(self, n_rows: int) -> Configuration:
        """Return every setting of a fit to so many rows.

        Raises:
            ValueError: a setting that cannot be; says what was expected and what came.
        """
        base = self.configuration
        if isinstance(base, str) and base in NAMED:
            base = NAMED[base]
        if not isinstance(base, Configuration):
            expected = f"expected one of {', '.join(NAMED)} or a Configuration"
            raise ValueError(f"configuration: {expected}, got {base!r}")

        def given(*names: str) -> dict[str, Any]:
            # A grid search over an array sets numbers of NumPy.
            values = {name: manifest.plain(getattr(self, name)) for name in names}
            return {name: value for name, value in values.items() if value is not None}

        def given_whole(*names: str) -> dict[str, Any]:
            return {name: whole(value) for name, value in given(*names).items()}

        model = base.model._replace(
            **given(
                "noise_variance",
                "kl_weight",
                "balance",
                "learning_rate",
                "weight_decay",
                "clip_norm",
            ),
            **given_whole("latent_dim", "patience"),
        )
        training = replace(
            base.training, **given("validation_fraction", "input_dropout"), **given_whole("max_epochs")
        )
        batch_size = given_whole("batch_size").get("batch_size")
        if batch_size == "auto":
            batch_size = training.batch_rows(n_rows)
        sizes = {"n_init": base.n_runs, "n_components": model.n_clusters, "batch_size": batch_size}
        sizes |= given_whole("n_init", "n_components")
        if problems := [line for name in sizes for line in unlike(name, sizes[name], whole=True, least=1)]:
            raise ValueError("; ".join(problems))
        components = sizes["n_components"]
        numbers = self._numbers()
        most = max(numbers) if isinstance(numbers, list) else numbers
        model = model._replace(n_clusters=max(most, min(components, n_rows // ROWS_PER_COMPONENT)))
        widths = given("widths").get("widths", base.widths)
        if isinstance(widths, list):
            widths = tuple(whole(width) for width in widths)
        chosen = replace(
            base,
            model=model,
            training=replace(training, batch_size=sizes["batch_size"]),
            widths=widths,
            n_runs=sizes["n_init"],
            **given("likelihood", "noise", "responsibilities", "covariance_type", "linkage"),
        )
        if not model.finite:
            raise ValueError(f"expected finite numbers, got {model}")
        return chosen

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether a fit has come to its end."""
        return hasattr(self, "shares_")  # the last that it sets

    def __sklearn_tags__(self) -> Tags:
        """Say what scikit-learn asks of an estimator: here, that numbers may be missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = []  # latents are single precision
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.ensemble_.latent_dim

    def _numbers(self) -> int | list[int]:
        """Return the number of clusters, or those to choose from."""
        numbers = manifest.plain(self.n_clusters)
        several = [whole(one) for one in (numbers if isinstance(numbers, list) else [numbers])]
        if not several or any(unlike("", one, whole=True, least=1) for one in several):
            expected = "expected a whole number, at least 1, or several to choose from"
            raise ValueError(f"n_clusters: {expected}, got {self.n_clusters!r}")
        return several if isinstance(numbers, list) else several[0]

    def _seed(self) -> int:
        state = self.random_state
        if not isinstance(state, int | np.integer):
            return int(check_random_state(state).randint(2**31))
        if not 0 <= state < SEEDS:
            raise ValueError(f"random_state: expected a whole number from 0 to {SEEDS - 1}, got {state}")
        return int(state)

    def _keep(self, found: Clustering, rows: Float[np.ndarray, "N D"]) -> None:
        """Set the attributes of a fit."""
        made = self.ensemble_ = found.ensemble
        self.labels_, self.support_ = found.labels.astype(np.int32), found.support
        self.linkage_: Linkage | None = found.linkage
        self.bics_, examined = found.bics, health.examine(found, rows)
        silence = [self.columns_.silence] if self.columns_.silence else []
        self.health_ = examined._replace(warnings=examined.warnings + silence)
        hyper = found.lanes.hyperparameters
        stages = {"pretraining": found.fit.pretrained, "fine-tuning": found.fit.finetuned}
        kl_weights = {
            name: np.asarray(hyper.of_stage(pretraining=name == "pretraining").kl_weight).tolist()
            for name in stages
        }
        each = [
            clustering.history(stage, lane, kl_weights[name][lane]).assign(run=lane + 1, stage=name)
            for lane in found.sound
            for name, stage in stages.items()
            if stage is not None
        ]
        history = pd.concat(each, ignore_index=True)
        self.history_ = history[["run", "stage", *(n for n in history if n not in ("run", "stage"))]]
        self.n_iter_ = int(np.sum(np.asarray(self.history_["run"]) == found.sound[made.best] + 1))
        full = made.architecture.covariance_type == "full"
        if made.agreed is None:
            self.weights_, self.means_, self.covariances_ = ensemble.mixture(made)
        else:
            posterior = ensemble.encode(made, rows)
            of_each = [self.labels_ == k for k in range(made.agreed.shares.shape[1])]
            self.weights_ = np.array([these.mean() for these in of_each])
            # In double precision: of millions of rows, sums in single are off.
            means = np.asarray(posterior.means, float)
            variances = np.exp(np.asarray(posterior.log_variances, float))
            self.means_ = np.stack([means[these].mean(axis=0) for these in of_each])
            self.covariances_ = np.stack([_spread(means[these], variances[these], full) for these in of_each])
        self.n_clusters_, self.n_rows_ = len(self.weights_), len(rows)
        self.shares_ = np.bincount(self.labels_, minlength=self.n_clusters_) / self.n_rows_

    def _table(self, X: Table, reset: bool) -> pd.DataFrame:
        """Return rows as a table, checked as scikit-learn checks: names, number of columns, rows."""
        if isinstance(X, pd.DataFrame):
            if any(isinstance(kind, np.dtype) and kind.kind == "c" for kind in X.dtypes):
                raise ValueError("Complex data not supported: expected columns of real numbers")
            validate_data(self, X, reset=reset, skip_check_array=True)  # pyright: ignore[reportArgumentType]
            # Missing among whole numbers or truth values is beyond NumPy: left to `columns`.
            if not all(isinstance(kind, np.dtype) and kind.kind in "biuf" for kind in X.dtypes):
                if len(X) < (least := 2 if reset else 1):
                    raise ValueError(f"expected at least {least} row{'s' * reset}, got {len(X)}")
                return X
        try:
            checked = validate_data(
                self,
                X,  # pyright: ignore[reportArgumentType]
                reset=reset,
                dtype="numeric",
                ensure_all_finite="allow-nan",
                ensure_min_samples=2 if reset else 1,
            )
        except OverflowError:
            raise ValueError("expected numbers of no more than 64 bits; give others as categories") from None
        except ValueError as error:
            # These would show values.
            if "Complex data" in str(error):
                problem = "Complex data not supported: expected an array of real numbers"
            elif "could not convert" in str(error):
                problem = "expected an array of numbers; give text and categories in a DataFrame"
            elif "Expected 2D array" in str(error):
                problem = "Expected 2D array: rows by columns. Reshape your data: one column is x[:, None]"
            else:
                raise
            raise ValueError(problem) from None
        names = X.columns if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(checked, columns=names, copy=False)

    def _ask(self, question: Callable[..., Any], X: Table) -> Any:
        check_is_fitted(self)
        table = self._table(X, reset=False)
        rows = self.columns_.encode(table)
        for name, n in self.columns_.unknown(table).items():
            if n > MANY_UNKNOWN * len(table):
                what = f"{n:,} of {len(table):,} rows have a category that the model does not know"
                advice = "or that too few rows of the fit had; they count as having none. Is it coded anew?"
                warnings.warn(f"column '{name}': {what}, {advice}", stacklevel=3)
        return question(self.ensemble_, rows)

    def _named(self, rows: Float[np.ndarray, "N D"]) -> Table:
        # By kind, what the decoder says of categories are their probabilities.
        table = self.columns_.decode(rows, probabilities=bool(self.ensemble_.architecture.blocks))
        return table if hasattr(self, "feature_names_in_") else table.to_numpy()

    def _hook(self) -> Callable[[Progress], None] | None:
        if not self.verbose:
            return self.on_block
        from jvade.hooks import every, show
        from jvade.report.terminal import Terminal

        shown = show(Terminal())
        return shown if self.on_block is None else every(shown, self.on_block)

    def _keeper(
        self,
        rows: Float[np.ndarray, "N D"],
        chosen: Configuration,
        numbers: int | list[int],
        blocks: Sequence[Block],
    ) -> Checkpoints | None:
        if self.checkpoint is None:
            return None
        if self.random_state is None:
            raise ValueError("checkpoint: needs a random_state, or no second fit would be the same; give one")
        settings = manifest.plain([chosen.of_training(), self.seed_, numbers, blocks, rows.shape])
        # As it lies in memory, column by column.
        key = manifest.key(
            rows=hashlib.sha256(np.ascontiguousarray(rows.T).data).hexdigest(), settings=settings
        )
        return Checkpoints(Path(self.checkpoint) / key[:16])


def from_sweep(found: Sweep, lane: int, X: Float[np.ndarray, "N D"]) -> VaDE:
    """Return one run of a sweep as an estimator, as if it had been fitted alone.

    Args:
        found: what `sweep` returned.
        lane: of the run, as in the column `lane` of its table.
        X: the matrix that the sweep was over.

    Raises:
        ValueError: there is no such run, or it failed.
    """
    one = clustering.of_lane(X, found.fit, found.lanes, lane, found.architecture, found.configurations[0])
    chosen, seed = found.configurations[lane], found.seeds[lane]
    kinds, codes = kinds_of(found.architecture.blocks)
    model = VaDE(
        chosen.model.n_clusters,
        configuration=chosen,
        kinds=kinds or None,
        codes=codes or None,
        random_state=seed,
    )
    # Rows come as they came to the sweep: in a 0/1 column a share may stand for what is missing.
    model.columns_ = Columns(tuple(Column(place, "numeric") for place in range(X.shape[1])))
    model.seed_, model.n_features_in_, model.configuration_ = seed, X.shape[1], chosen
    model.checkpoint_ = None
    model._keep(one, np.asarray(X))
    return model


def _spread(
    means: Float[np.ndarray, "n L"], variances: Float[np.ndarray, "n L"], full: bool
) -> Float[np.ndarray, "L *L"]:
    """Return the covariance, or the variances, of the latents of some rows, each anywhere in its q(z|x)."""
    if not full:
        return means.var(axis=0) + variances.mean(axis=0)
    return np.cov(means, rowvar=False, bias=True).reshape(2 * means.shape[1:]) + np.diag(
        variances.mean(axis=0)
    )
