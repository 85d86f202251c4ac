"""Training as an author would write it: a DataLoader, AdamW, the gradient clipped, the loss summed up."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from jvade.core.settings import Hyperparameters

from .model import BATCH_SIZE, Vade


def train(
    model: Vade,
    training: torch.Tensor,
    validation: torch.Tensor,
    epochs: int,
    settings: Hyperparameters,
) -> list[float]:
    """Train for some epochs; return the validation loss after each of them."""
    device = next(model.parameters()).device
    batches = DataLoader(TensorDataset(training), BATCH_SIZE, shuffle=True)
    held_out = DataLoader(TensorDataset(validation), BATCH_SIZE)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    losses = []
    for _ in range(epochs):
        model.train()
        training_loss = 0.0
        for (rows,) in batches:
            x = rows.to(device)
            loss = model(x, _noise(model, x)).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            training_loss += loss.item() * len(x)
        model.eval()
        total = 0.0
        with torch.no_grad():
            for (rows,) in held_out:
                x = rows.to(device)
                total += model(x, _noise(model, x)).sum().item()
        losses.append(total / len(validation))
    return losses


def _noise(model: Vade, x: torch.Tensor) -> torch.Tensor:
    return torch.randn(len(x), model.decode.in_features, device=x.device)
