"""Many models of one shape at once: `torch.func` maps the gradient of one over a stack of parameters."""

import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from jvade.core.settings import Hyperparameters

from .model import BATCH_SIZE, Vade
from .tuned import DRAWN_STEPS


def train(
    models: list[Vade],
    training: torch.Tensor,
    validation: torch.Tensor,
    epochs: int,
    settings: Hyperparameters,
) -> list[list[float]]:
    """Train models of one shape side by side, each with its own order of rows and its own noise.

    They share their settings: the fused optimizer takes one learning rate for all.

    Returns:
        The validation losses of the models after each epoch.
    """
    stack, _ = stack_module_state(models)  # pyright: ignore[reportArgumentType]
    base, n_models = models[0], len(models)
    latent_dim, device = base.decode.in_features, training.device
    # Element by element, AdamW of a stack is AdamW of each; its clipping is by the norm of each, below.
    optimizer = torch.optim.AdamW(
        list(stack.values()), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return functional_call(base, parameters, (x, noise)).mean()

    slopes, scores = vmap(grad(loss)), vmap(loss, in_dims=(0, None, 0))
    held_out = torch.randn(n_models, len(validation), latent_dim, device=device)
    losses = []
    for _ in range(epochs):
        order = torch.stack([torch.randperm(len(training), device=device) for _ in models])
        for i, rows in enumerate(order.split(BATCH_SIZE, dim=1)):
            if i % DRAWN_STEPS == 0:
                noise = torch.randn(DRAWN_STEPS, n_models, BATCH_SIZE, latent_dim, device=device)
            gradients = slopes(stack, training[rows], noise[i % DRAWN_STEPS, :, : rows.shape[1]])
            squares = sum(g.square().flatten(1).sum(1) for g in gradients.values())
            scale = (settings.clip_norm / (squares.sqrt() + 1e-6)).clamp(max=1.0)
            for name, parameter in stack.items():
                g = gradients[name]
                parameter.grad = g * scale.view(-1, *[1] * (g.dim() - 1))
            optimizer.step()
        with torch.no_grad():
            total = torch.zeros(n_models, dtype=training.dtype, device=device)
            for first in range(0, len(validation), BATCH_SIZE):
                x = validation[first : first + BATCH_SIZE]
                total += len(x) * scores(stack, x, held_out[:, first : first + len(x)])
            losses.append(total / len(validation))
    return torch.stack(losses).tolist()
