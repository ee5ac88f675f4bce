"""The training loop that all stages share: steps, learning rate, checkpoints, resume."""

import json
import math
import signal
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from golden.checkpoints.atomic import replace_files
from golden.checkpoints.checkpoint import Checkpoint
from golden.progress import Tell, unheard
from golden.training.corpus import Windows
from golden.training.settings import Settings, optimisers
from isa.errors import SpikeletError


@dataclass
class Result:
    """What a run came to."""

    steps: int
    loss: float  # mean of the last 200 steps, nats a token
    seconds: float  # of this call
    tokens: int  # of this call
    table: list[tuple[str, str]] = field(default_factory=list)


def fingerprint(checkpoint: Checkpoint) -> list:
    """What tells one checkpoint from another: shape, thresholds and a checksum of the weights."""
    check = 0
    for name in checkpoint.config.weight_shapes():
        check = zlib.crc32(np.ascontiguousarray(checkpoint.weights[name]), check)
    return [asdict(checkpoint.config), {str(p): t for p, t in checkpoint.thresholds.items()}, check]


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Holds Ctrl-C back until the block calls the function that it is given.

    That call raises KeyboardInterrupt, so an interrupt comes between two steps only. A second
    Ctrl-C does not wait.
    """
    pressed = False

    def hold(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    if (threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler):
        yield check
        return
    signal.signal(signal.SIGINT, hold)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Trainer:
    """Runs optimiser steps, and keeps a state from which an interrupted run goes on.

    Args:
        model: its trainable parameters are trained.
        loss: takes ids (B, T + 1) and the number of the step, gives a scalar in nats a token.
        folder: where `<stage>.state.pt` lies; the state of another run is refused.
        after_step: called with the ids after each update (for plasticity's local rules).
        identity: what makes the run what it is, by name, beside settings and text.
        memory: numbers that `after_step` keeps from step to step; the state holds them, too.

    Raises:
        SpikeletError: a state file that is damaged or belongs to another run.
    """

    def __init__(self, model: nn.Module, loss: Callable[[torch.Tensor, int], torch.Tensor],
                 windows: Windows, settings: Settings, folder: Path, stage: str,
                 after_step: Callable[[torch.Tensor], None] = lambda ids: None,
                 identity: Mapping[str, Any] | None = None,
                 memory: deque[float] | None = None) -> None:
        self.model, self.loss, self.windows, self.settings = model, loss, windows, settings
        self.folder, self.stage, self.after_step = folder, stage, after_step
        text = zlib.crc32(np.ascontiguousarray(windows.ids))
        self.identity = {name: json.dumps(value) for name, value in
                         {"text": text, **(identity or {})}.items()}
        self.memory = deque() if memory is None else memory
        self.device = next(model.parameters()).device
        self.optimisers = optimisers(model, settings)
        self.peaks = [[group["lr"] for group in o.param_groups] for o in self.optimisers]
        self.step, self.recent, self._updating = 0, deque(maxlen=200), False
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
            self._check(state)
            self.model.load_state_dict(state["model"])
            for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(values)
            self.generator.set_state(state["generator"].cpu())
            self.step, self.recent = state["step"], deque(state["recent"], maxlen=200)
            self.memory.extend(state.get("memory", []))
        except SpikeletError:
            raise
        except Exception as error:  # whatever a file that is cut or foreign brings about
            raise SpikeletError(f"{self.state_file} is damaged: delete it to begin "
                                "again") from error

    def _check(self, state: dict[str, Any]) -> None:
        """Raises SpikeletError where the state is that of another run."""
        other = None if state["key"] == json.dumps(self._key()) else "other settings"
        for name, value in state.get("identity", {}).items():
            if other is None and value != self.identity.get(name):
                other = f"another {name}"
        if other is not None:
            raise SpikeletError(f"{self.state_file} belongs to a run with {other}: use the same as "
                                "then, another --out, or delete it to begin again")

    def save(self) -> None:
        """Writes the state whole or not at all; a full disk leaves the old one.

        Raises:
            SpikeletError: it cannot be written.
        """
        state = {"key": json.dumps(self._key()), "step": self.step, "recent": list(self.recent),
                 "model": self.model.state_dict(), "generator": self.generator.get_state(),
                 "optimisers": [o.state_dict() for o in self.optimisers],
                 "identity": self.identity, "memory": list(self.memory)}
        try:
            replace_files(self.folder, {self.state_file.name: lambda file: torch.save(state, file)})
        except (OSError, RuntimeError) as error:  # torch wraps a full disk in a RuntimeError
            raise SpikeletError(f"cannot write {self.state_file} (is the disk full?): the state "
                                "before it is untouched") from error

    def run(self, tell: Tell = unheard) -> Result:
        """All steps that are left.

        Raises:
            SpikeletError: a loss or a gradient that is no finite number, a state that cannot be
                written.
            KeyboardInterrupt: after the state was saved.
        """
        s, first, start = self.settings, self.step, time.monotonic()
        saved = start
        with interrupts_held() as check_interrupt:
            try:
                while self.step < s.steps:
                    self._one()
                    if time.monotonic() - saved > s.save_every:
                        self.save()
                        saved = time.monotonic()
                    if self.step % 10 == 0 or self.step == s.steps:
                        speed = (self.step - first) / (time.monotonic() - start)
                        tell(self.step / s.steps, f"{self.step:,}/{s.steps:,} steps, loss "
                             f"{sum(self.recent) / len(self.recent):.4f} nats, "
                             f"{speed * s.batch * s.length:,.0f} tokens/s")
                    check_interrupt()
            except KeyboardInterrupt:
                if not self._updating:
                    self.save()
                raise
            self.save()
        done = self.step - first
        return Result(self.step, sum(self.recent) / max(1, len(self.recent)),
                      time.monotonic() - start, done * s.batch * s.length)

    def _one(self) -> None:
        """One step; what interrupts it before the update leaves all as it was before the step."""
        share = self.settings.rate_at(self.step)
        for optimiser, peaks in zip(self.optimisers, self.peaks, strict=True):
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            optimiser.zero_grad(set_to_none=True)
        before = self.generator.get_state()
        try:
            ids = self.windows.batch(self.generator).to(self.device)
            loss = self.loss(ids, self.step)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            value = float(loss.detach())
            if not (math.isfinite(value) and math.isfinite(norm)):
                raise SpikeletError(f"the loss or its gradient is no finite number at step "
                                    f"{self.step + 1}: use a lower --rate")
        except KeyboardInterrupt:
            self.generator.set_state(before)
            raise
        self._updating = True       # half an update is nothing to go on from
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        self.recent.append(value)
        self.after_step(ids)
        self._updating = False
