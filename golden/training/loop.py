"""The training loop that all stages share: steps, learning rate, checkpoints, resume."""

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from golden.training.corpus import Windows
from isa.errors import SpikeletError

Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Settings:
    """What determines a training run, beside model and text.

    Args:
        steps: optimiser steps in all.
        batch: windows a step.
        length: tokens a window.
        rate: peak learning rate of the layers' matrices (Muon); the rest takes half of it (Adam).
        warm_up, cool_down: shares of the steps in which the rate rises from and falls to 0.
        neuron_rate: step of the neurons' theta_base along the gradient (Adam); alpha takes a tenth.
        float_share: share of the steps that run in float before the quantisers come in.
        distil: weight of the teacher's distribution against the text's next token.
        seed: of the windows, and of untrained weights.
        save_every: seconds between checkpoints.
    """

    steps: int
    batch: int = 32
    length: int = 256
    rate: float = 0.02
    warm_up: float = 0.02
    cool_down: float = 0.5
    decay: float = 0.01
    neuron_rate: float = 0.0
    float_share: float = 0.0
    distil: float = 0.0
    seed: int = 0
    save_every: float = 120.0

    def rate_at(self, step: int) -> float:
        """Share of the peak learning rate at a step: a trapezoid."""
        rise = (step + 1) / max(1.0, self.warm_up * self.steps)
        fall = (self.steps - step) / max(1.0, self.cool_down * self.steps)
        return min(1.0, rise, fall)


@dataclass
class Result:
    """What a run came to."""

    steps: int
    loss: float  # mean of the last 200 steps, nats a token
    seconds: float  # of this call
    tokens: int  # of this call
    table: list[tuple[str, str]] = field(default_factory=list)


def optimisers(model: nn.Module, s: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embedding, head, norms, biases and neurons."""
    matrices, others = [], []
    neuron_rates = {"responses.base": s.neuron_rate, "responses.alpha": s.neuron_rate / 10}
    neurons = []
    for name, parameter in model.named_parameters():
        if name in neuron_rates:
            neurons.append({"params": [parameter], "lr": neuron_rates[name], "weight_decay": 0.0})
        else:
            inner = parameter.dim() == 2 and name.startswith("layers.")
            (matrices if inner else others).append(parameter)
    groups = [{"params": others, "weight_decay": s.decay}, *neurons]
    return [torch.optim.Muon(matrices, lr=s.rate, weight_decay=s.decay, momentum=0.95,
                             adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(groups, lr=s.rate / 2, betas=(0.9, 0.95), fused=True)]


class Trainer:
    """Runs steps of `loss(model, ids)` and keeps a checkpoint from which it goes on.

    Args:
        model: its trainable parameters are trained.
        loss: (B, T + 1) ids and the step -> scalar loss in nats a token.
        folder: where `state.pt` lies; a state of another run is refused.
        after_step: called with the ids after each update (plasticity's local rules).
    """

    def __init__(self, model: nn.Module, loss: Callable[[torch.Tensor, int], torch.Tensor],
                 windows: Windows, settings: Settings, folder: Path, stage: str,
                 after_step: Callable[[torch.Tensor], None] = lambda ids: None) -> None:
        self.model, self.loss, self.windows, self.settings = model, loss, windows, settings
        self.folder, self.stage, self.after_step = folder, stage, after_step
        self.device = next(model.parameters()).device
        self.optimisers = optimisers(model, settings)
        self.peaks = [[group["lr"] for group in o.param_groups] for o in self.optimisers]
        self.step, self.recent = 0, deque(maxlen=200)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self._resume()

    @property
    def state_file(self) -> Path:
        return self.folder / f"{self.stage}.state.pt"

    def _key(self) -> dict:
        kept = asdict(self.settings)
        del kept["save_every"]
        return kept

    def _resume(self) -> None:
        if not self.state_file.exists():
            return
        try:
            state = torch.load(self.state_file, map_location=self.device, weights_only=True)
        except Exception as error:
            raise SpikeletError(f"{self.state_file} is damaged: delete it to begin "
                                "again") from error
        if state["key"] != json.dumps(self._key()):
            raise SpikeletError(f"{self.state_file} belongs to a run with other settings: use the "
                                "same ones, another --out, or delete it to begin again")
        self.model.load_state_dict(state["model"])
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self.generator.set_state(state["generator"].cpu())
        self.step, self.recent = state["step"], deque(state["recent"], maxlen=200)

    def save(self) -> None:
        """Writes the state whole or not at all; a full disk leaves the old one."""
        state = {"key": json.dumps(self._key()), "step": self.step, "recent": list(self.recent),
                 "model": self.model.state_dict(), "generator": self.generator.get_state(),
                 "optimisers": [o.state_dict() for o in self.optimisers]}
        temporary = self.state_file.with_suffix(".new")
        try:
            torch.save(state, temporary)
            os.replace(temporary, self.state_file)
        except (OSError, RuntimeError) as error:  # torch wraps a full disk in a RuntimeError
            temporary.unlink(missing_ok=True)
            raise SpikeletError(f"cannot write {self.state_file} (is the disk full?): the state "
                                "before it is untouched") from error

    def run(self, tell: Tell = lambda fraction, stage: None) -> Result:
        """All steps that are left.

        Raises:
            SpikeletError: a loss that is no finite number.
            KeyboardInterrupt: after the state was saved.
        """
        s, start, saved, first = self.settings, time.monotonic(), time.monotonic(), self.step
        try:
            while self.step < s.steps:
                loss = self._one()
                if not math.isfinite(loss):
                    raise SpikeletError(f"the loss is no finite number at step {self.step}: use a "
                                        "lower --rate")
                if time.monotonic() - saved > s.save_every:
                    self.save()
                    saved = time.monotonic()
                if self.step % 10 == 0 or self.step == s.steps:
                    speed = (self.step - first) / (time.monotonic() - start)
                    tell(self.step / s.steps, f"{self.step:,}/{s.steps:,} steps, loss "
                         f"{sum(self.recent) / len(self.recent):.4f} nats a token, "
                         f"{speed * s.batch * s.length:,.0f} tokens/s")
        except KeyboardInterrupt:
            self.save()
            raise
        self.save()
        done = self.step - first
        return Result(self.step, sum(self.recent) / max(1, len(self.recent)),
                      time.monotonic() - start, done * s.batch * s.length)

    def _one(self) -> float:
        share = self.settings.rate_at(self.step)
        for optimiser, peaks in zip(self.optimisers, self.peaks, strict=True):
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * share
        ids = self.windows.batch(self.generator).to(self.device)
        loss = self.loss(ids, self.step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        value = float(loss.detach())
        self.recent.append(value)
        self.step += 1
        self.after_step(ids)
        return value
