"""`tuned` without a launch for every kernel: each step is a CUDA graph, recorded once and replayed."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch

from jvade.core.settings import Hyperparameters

from .model import BATCH_SIZE, Vade
from .tuned import DRAWN_STEPS


class Training:
    """The training of one shape of model, recorded; any weights of that shape can be trained by it.

    Where there is no CUDA the same steps run unrecorded, so that what they compute can be tested.

    Args:
        model: on the device of the data; it is copied.
        training: rows, on the device.
        validation: rows, on the device.
        settings: learning rate, weight decay and clipping are read.
        compiled: record what `torch.compile` makes of the model.
    """

    def __init__(
        self,
        model: Vade,
        training: torch.Tensor,
        validation: torch.Tensor,
        settings: Hyperparameters,
        *,
        compiled: bool = False,
    ) -> None:
        self.model, self.rows, self.validation, self.settings = (
            deepcopy(model),
            training,
            validation,
            settings,
        )
        self.call = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.parameters = list(self.model.parameters())
        device = training.device
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )
        # What a recorded step reads and writes stays where it was when it was recorded.
        self.which = torch.zeros(BATCH_SIZE, dtype=torch.long, device=device)
        self.noise = torch.zeros(BATCH_SIZE, model.decode.in_features, device=device)
        self.held_out = torch.zeros(len(validation), model.decode.in_features, device=device)
        self.total = torch.zeros((), device=device)
        sizes = {len(part) for part in self.rows.split(BATCH_SIZE)}
        self.steps = {n: _record(partial(self._step, n), device) for n in sizes}
        self.score = _record(self._score, device)

    def _step(self, n_rows: int) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        x = self.rows.index_select(0, self.which[:n_rows])
        self.call(x, self.noise[:n_rows]).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm, foreach=True)
        self.optimizer.step()

    def _score(self) -> None:
        with torch.no_grad():
            spans = zip(self.validation.split(BATCH_SIZE), self.held_out.split(BATCH_SIZE), strict=True)
            self.total.copy_(sum(self.call(x, noise).sum() for x, noise in spans))

    def train(self, model: Vade, epochs: int) -> list[float]:
        """Train from the weights of a model for some epochs; return the validation loss after each."""
        with torch.no_grad():
            for mine, start in zip(self.parameters, model.parameters(), strict=True):
                mine.copy_(start)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()
        self.held_out.normal_()
        losses = []
        for _ in range(epochs):
            order = torch.randperm(len(self.rows), device=self.rows.device).split(BATCH_SIZE)
            for i, which in enumerate(order):
                if i % DRAWN_STEPS == 0:
                    noise = torch.randn(DRAWN_STEPS, *self.noise.shape, device=self.rows.device)
                self.which[: len(which)].copy_(which)
                self.noise.copy_(noise[i % DRAWN_STEPS])
                self.steps[len(which)]()
            self.score()
            losses.append(self.total / len(self.validation))
        return torch.stack(losses).tolist()  # the only time that the device is waited for


def _record(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return what replays a function of no arguments; it runs a few times beforehand, as CUDA asks."""
    if device.type != "cuda":
        function()  # so that the optimizer has its state
        return function
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay
