"""One lane's training as a pure program: steps into epochs, epochs until it stops.

A lane is a key and its traced hyperparameters. Nothing here knows of other lanes; `lanes` maps these
functions over a stack.
"""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key

from jvade.core import draws, likelihoods, model, shuffle
from jvade.core.layout import row_parts, spread_rows, steps_at_once, sum_rows
from jvade.core.model import Parameters
from jvade.core.objective import ElboTerms, elbo_terms_and_log_gamma, penalties
from jvade.core.settings import Architecture, Hyperparameters, Training


class Lane(NamedTuple):
    """One run: the key its every draw descends from, and its settings. A stack has a leading axis."""

    key: Key[Array, "*lanes"]
    hyperparameters: Hyperparameters


class History(NamedTuple):
    """Means per row of the ELBO's terms, one entry an epoch; NaN where an epoch was not run."""

    train: ElboTerms
    validation: ElboTerms


class TrainState(NamedTuple):
    """What the next epoch needs, and what early stopping keeps.

    `params`, `best_params` and the moments in `opt_state` are `Parameters`; within a block of epochs each of
    them is one vector.
    """

    key: Key[Array, ""]
    params: Any
    opt_state: Any
    best_params: Any
    best_loss: Float[Array, ""]
    epochs_since_best: Int[Array, ""]
    epoch: Int[Array, ""]
    finite: Bool[Array, ""]
    history: History


class ColumnStatistics(NamedTuple):
    """What a training asks of all rows: found once for the epochs that a program runs.

    Args:
        means: what the encoder sees of an input that is hidden; None where none is.
        weights: in the reconstruction, see `likelihoods.balanced`; None where all count as they are.
    """

    means: Float[Array, " D"] | None
    weights: Float[Array, " D"] | None


def named_key(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """Return the child of `key` for one use, by name: new uses do not disturb the draws of old ones."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def split_row(lane: Lane, position: Int[Array, " N"], n_rows: int) -> Int[Array, " N"]:
    """Return the row at `position` of the lane's split: training rows first, then validation rows."""
    return shuffle.permute(named_key(lane.key, "split"), position, n_rows)


def is_active(state: TrainState, lane: Lane, training: Training) -> Bool[Array, ""]:
    """Return whether the lane would go on: finite, within patience, epochs left."""
    patient = state.epochs_since_best < lane.hyperparameters.patience
    return state.finite & patient & (state.epoch < training.max_epochs)


def _optimizer(hyperparameters: Hyperparameters) -> optax.GradientTransformation:
    """AdamW after clipping by the lane's own global norm (section 2.3)."""
    return optax.chain(
        optax.clip_by_global_norm(hyperparameters.clip_norm),  # pyright: ignore[reportArgumentType]
        optax.adamw(hyperparameters.learning_rate, weight_decay=hyperparameters.weight_decay),
    )


def start(params: Parameters, lane: Lane, stage: str, training: Training) -> TrainState:
    """Return the state before the first epoch of `stage` ("pretraining", "fine-tuning")."""
    empty = jnp.full(training.max_epochs, jnp.nan)
    terms = ElboTerms(empty, empty, empty, empty)
    return TrainState(
        key=named_key(lane.key, stage),
        params=params,
        opt_state=_optimizer(lane.hyperparameters).init(cast(Any, params)),
        best_params=params,
        # Explicit types: a weakly typed start would compile the first block twice.
        best_loss=jnp.full((), jnp.inf, empty.dtype),
        epochs_since_best=jnp.zeros((), int),
        epoch=jnp.zeros((), int),
        finite=jnp.array(True),
        history=History(terms, terms),
    )


def map_parameters(function: Callable[..., Any], state: TrainState, *rest: TrainState) -> TrainState:
    """Apply a function to every set of `Parameters` of a state, and to what the states of `rest` have there.

    All else is that of the last state.
    """

    def one(node: Any, *others: Any) -> Any:
        return function(node, *others) if isinstance(node, Parameters) else (others or (node,))[-1]

    return jax.tree.map(one, state, *rest, is_leaf=lambda node: isinstance(node, Parameters))


def loss(terms: ElboTerms, hyperparameters: Hyperparameters) -> Float[Array, "*rows"]:
    """Return minus the (weighted) ELBO: what is minimised."""
    return -terms.elbo(hyperparameters.kl_weight)


def _pass(
    carry: Any,
    step: Any,
    lane: Lane,
    x: Float[Array, "N D"],
    key: Key[Array, ""],
    span: tuple[int, int, int],
    order: Key[Array, ""] | None,
    means: Float[Array, " D"] | None,
    latent_dim: int,
    training: Training,
) -> tuple[Any, ElboTerms]:
    """Run `step(carry, rows, seen, noise, weights)` over a part of the split; return carry and mean terms.

    A span is where it begins, how long it is, and how many of its rows are taken: the first in `order`, or as
    the split has them. The last batch is filled up with rows of weight 0, so that each of them counts once;
    the weights of a batch sum to 1. A step returns the carry and the terms of each row: they are summed over
    the steps place by place, and over the places once, at the end, so that no step waits for sums of its own.
    `seen` is what the encoder sees of the rows: of an input that is hidden, its mean.
    """
    first, length, size = span
    batch_size = min(training.batch_rows(len(x)), size)
    n_steps = -(-size // batch_size)
    n_drawn = min(steps_at_once(batch_size), n_steps)

    def hidden(step: Int[Array, ""]) -> Bool[Array, "B D"]:
        step_key = jax.random.fold_in(named_key(key, "hidden"), step)
        return draws.hidden(step_key, batch_size, x.shape[1], training.input_dropout)

    def draw(steps: Int[Array, " T"]) -> tuple[Array, ...]:
        place = steps[:, None] * batch_size + jnp.arange(batch_size)
        n_rows = jnp.minimum(size - steps[:, None] * batch_size, batch_size)
        weights = jnp.where(place < size, 1 / n_rows.astype(x.dtype), 0.0)
        place = jnp.minimum(place, size - 1).ravel()
        if order is not None:
            place = shuffle.permute(order, place, length)
        index = split_row(lane, first + place, x.shape[0]).reshape(len(steps), batch_size)
        index, weights = spread_rows((index, weights), axis=1)
        # Rows last until a step takes its own, as the latents of a step are.
        noise = jax.vmap(lambda i: draws.noise(jax.random.fold_in(key, i), latent_dim, batch_size))(steps)
        noise = spread_rows(noise, axis=2)
        # Every place is below the size of the split, every row of the split in the table.
        rows = x.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
        if means is None:
            return rows, rows, noise, weights
        missing = spread_rows(jax.vmap(hidden)(steps), axis=1)
        return rows, jnp.where(missing, means, rows), noise, weights

    def some_steps(i: Int[Array, ""], inner: tuple[Any, ElboTerms]) -> tuple[Any, ElboTerms]:
        begin = i * n_drawn
        drawn = draw(begin + jnp.arange(n_drawn))

        def one_step(j: Int[Array, ""], inner: tuple[Any, ElboTerms]) -> tuple[Any, ElboTerms]:
            carry, sums = inner
            rows, seen, noise, weights = (part[j] for part in drawn)
            carry, terms = step(carry, rows, seen, noise.T, weights)
            return carry, jax.tree.map(lambda s, t: s + jnp.where(weights > 0, t, 0.0), sums, terms)

        return jax.lax.fori_loop(0, jnp.minimum(n_drawn, n_steps - begin), one_step, inner)

    zeros = spread_rows(jnp.zeros(batch_size, x.dtype), axis=0)
    start = (carry, ElboTerms(zeros, zeros, zeros, zeros))
    carry, sums = jax.lax.fori_loop(0, -(-n_steps // n_drawn), some_steps, start)
    return carry, jax.tree.map(lambda s: sum_rows(jnp.sum(s)) / size, sums)


def _columns(
    x: Float[Array, "N D"], lane: Lane, architecture: Architecture, training: Training
) -> ColumnStatistics:
    settings, blocks = lane.hyperparameters, architecture.all_blocks
    means = jnp.mean(x, axis=0) if training.input_dropout else None  # of all rows, as the scaling is
    if settings.balance is None:
        return ColumnStatistics(means, None)
    return ColumnStatistics(means, likelihoods.balanced(x, blocks, settings.noise_variance, settings.balance))


def _validate(
    params: Parameters,
    x: Float[Array, "N D"],
    lane: Lane,
    stage_key: Key[Array, ""],
    columns: ColumnStatistics,
    architecture: Architecture,
    training: Training,
) -> ElboTerms:
    """Return the mean terms of the rows that score an epoch; noise, and what is hidden, are ever the same."""

    def step(params: Parameters, rows: Any, seen: Any, noise: Any, _: Any) -> tuple[Any, ElboTerms]:
        settings = architecture, lane.hyperparameters, seen, columns.weights
        return params, elbo_terms_and_log_gamma(params, rows, noise, *settings)[0]

    n_train, n_validation = training.split_sizes(x.shape[0])
    _, n_scored = training.epoch_sizes(x.shape[0])
    key, latent_dim = named_key(stage_key, "validation"), architecture.latent_dim
    span = n_train, n_validation, n_scored
    return _pass(params, step, lane, x, key, span, None, columns.means, latent_dim, training)[1]


def validate(
    params: Parameters,
    x: Float[Array, "N D"],
    lane: Lane,
    stage: str,
    architecture: Architecture,
    training: Training,
) -> ElboTerms:
    """Return the mean terms of the rows that score an epoch by the likelihood as it is, not as it trained.

    They are those of the history of `stage` where `balance` is 0.
    """
    columns = _columns(x, lane, architecture, training)._replace(weights=None)
    return _validate(params, x, lane, named_key(lane.key, stage), columns, architecture, training)


def run_epoch(
    state: TrainState,
    x: Float[Array, "N D"],
    lane: Lane,
    unravel: Callable[[Float[Array, " P"]], Parameters],
    architecture: Architecture,
    training: Training,
    columns: ColumnStatistics,
) -> TrainState:
    """Train on an epoch's rows once, then score it; parameters are one vector.

    Row order and noise are new in every epoch; the noise of the validation is the same in every epoch,
    and its loss is that of the stage's whole KL weight, so that patience compares like with like. If anything
    went non-finite the state is returned as it was, with `finite` False.
    """
    n_train, _ = training.split_sizes(x.shape[0])
    n_taken, _ = training.epoch_sizes(x.shape[0])
    mixture = unravel(state.params).mixture
    hyperparameters = lane.hyperparameters.of_stage(pretraining=mixture is None)
    optimizer = _optimizer(hyperparameters)
    n_mixture = sum(leaf.size for leaf in jax.tree.leaves(mixture))  # the last of the vector

    # The pretraining alone: in the fine-tuning, a mixture without its KL terms would drift off.
    n_warming = hyperparameters.warmup_epochs * hyperparameters.annealing_cycles
    warming = (state.epoch + 1 < n_warming) & (mixture is None)
    cycle = jnp.maximum(hyperparameters.warmup_epochs, 1)
    share = (state.epoch % cycle + 1) / cycle
    weight = hyperparameters.kl_weight * jnp.where(warming, share, 1.0)
    trained = hyperparameters._replace(kl_weight=weight.astype(x.dtype))

    def mean_loss(
        params: Parameters, rows: Any, seen: Any, noise: Any, weights: Any
    ) -> tuple[Any, ElboTerms]:
        terms, log_gamma = elbo_terms_and_log_gamma(
            params, rows, noise, architecture, trained, seen, columns.weights
        )
        mean = jnp.where(weights > 0, loss(terms, trained), 0.0) @ weights
        # What is told, and what early stopping looks at, are the terms: the bound without penalties. Where
        # devices share the rows, each has its part of the sum: what is of all rows counts once.
        of_all = sum(penalties(log_gamma, weights, params.mixture, trained), start=0.0)
        return mean + of_all / row_parts(), terms

    def train_step(carry: Any, *batch: Any) -> tuple[Any, ElboTerms]:
        params, opt_state = carry
        gradients, terms = jax.grad(mean_loss, has_aux=True)(unravel(params), *batch)
        gradient = sum_rows(ravel_pytree(gradients)[0])
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        if n_mixture:
            # The whole vector at once, in one program with Adam's; written into its end, it would be copied.
            own = jnp.arange(params.size) >= params.size - n_mixture
            updates = cast(Array, updates) * jnp.where(own, hyperparameters.mixture_rate, 1.0)
        return (optax.apply_updates(params, updates), opt_state), terms

    epoch_key = jax.random.fold_in(named_key(state.key, "train"), state.epoch)
    (params, opt_state), train = _pass(
        (state.params, state.opt_state),
        train_step,
        lane,
        x,
        named_key(epoch_key, "noise"),
        (0, n_train, n_taken),
        named_key(epoch_key, "order"),
        columns.means,
        architecture.latent_dim,
        training,
    )
    validation = _validate(unravel(params), x, lane, state.key, columns, architecture, training)

    validation_loss = loss(validation, hyperparameters)
    train_loss = loss(train, hyperparameters)
    finite = jnp.isfinite(validation_loss) & jnp.isfinite(train_loss) & jnp.all(jnp.isfinite(params))

    # Until the KL terms have their weight for good, the last epoch counts as the best.
    better = (validation_loss < state.best_loss) | warming
    write = lambda slots, value: slots.at[state.epoch].set(value)  # noqa: E731
    after = state._replace(
        params=params,
        opt_state=opt_state,
        best_params=jnp.where(better, params, state.best_params),
        best_loss=jnp.where(better, validation_loss, state.best_loss),
        epochs_since_best=jnp.where(better, 0, state.epochs_since_best + 1),
        epoch=state.epoch + 1,
        history=jax.tree.map(write, state.history, History(train, validation)),
    )
    frozen = state._replace(finite=jnp.array(False))
    return jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, frozen)


def run_block(
    state: TrainState,
    x: Float[Array, "N D"],
    lane: Lane,
    until: Int[Array, ""],
    architecture: Architecture,
    training: Training,
) -> TrainState:
    """Run epochs until epoch number `until`, or until the lane stops. Where blocks end changes no result."""
    # One vector instead of a dozen arrays: a step is fewer, larger programs, and compiles in less time.
    unravel = ravel_pytree(state.params)[1]
    columns = _columns(x, lane, architecture, training)
    after = jax.lax.while_loop(
        lambda s: is_active(s, lane, training) & (s.epoch < until),
        lambda s: run_epoch(s, x, lane, unravel, architecture, training, columns),
        map_parameters(lambda params: ravel_pytree(params)[0], state),
    )
    return map_parameters(lambda _, vector: unravel(vector), state, after)


def init(lane: Lane, architecture: Architecture) -> Parameters:
    """Draw the lane's starting parameters."""
    settings = lane.hyperparameters
    return model.init(named_key(lane.key, "init"), architecture, settings.latent_dim, settings.noise_variance)
