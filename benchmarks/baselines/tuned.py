"""Training by someone who counts microseconds: one copy of the data, nothing fetched from it in an epoch."""

from collections.abc import Callable
from typing import Any

import torch

from jvade.core.settings import Hyperparameters

from .model import BATCH_SIZE, Vade

#: Steps whose noise is drawn at once.
DRAWN_STEPS = 64


def train(
    model: Vade,
    training: torch.Tensor,
    validation: torch.Tensor,
    epochs: int,
    settings: Hyperparameters,
    *,
    forward: Callable[..., Any] | None = None,
) -> list[float]:
    """Train for some epochs; return the validation loss after each of them.

    Args:
        model: on the device of the data.
        training: rows, on the device.
        validation: rows, on the device.
        epochs: to run.
        settings: learning rate, weight decay and clipping are read.
        forward: the model as it is called: itself, or what `torch.compile` made of it.
    """
    call = model if forward is None else forward
    parameters = list(model.parameters())
    latent_dim, device = model.decode.in_features, training.device
    optimizer = torch.optim.AdamW(
        parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    held_out = torch.randn(len(validation), latent_dim, device=device)
    losses = []
    for _ in range(epochs):
        order = torch.randperm(len(training), device=device).split(BATCH_SIZE)
        for i, rows in enumerate(order):
            if i % DRAWN_STEPS == 0:
                noise = torch.randn(DRAWN_STEPS, BATCH_SIZE, latent_dim, device=device)
            x = training.index_select(0, rows)
            call(x, noise[i % DRAWN_STEPS, : len(x)]).mean().backward()
            torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm, foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            spans = zip(validation.split(BATCH_SIZE), held_out.split(BATCH_SIZE), strict=True)
            losses.append(sum(call(x, noise).sum() for x, noise in spans) / len(validation))
    return torch.stack(losses).tolist()  # the only time that the device is waited for
