"""Stage 1: quantisation-aware training, of untrained weights or of a checkpoint."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from golden.checkpoints.checkpoint import Checkpoint
from golden.float_model.model import FloatModel
from golden.progress import Tell, unheard
from golden.quantisation.network import QuantisedNetwork
from golden.training.corpus import Windows
from golden.training.loop import Result, Trainer, fingerprint
from golden.training.settings import Settings
from isa.errors import SpikeletError

QUANTISED = "quantised"  # names the state file


def cross_entropy(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Mean over (B, T, vocab) logits of the next token's surprise, nats; ids are (B, T + 1)."""
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def divergence(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean Kullback-Leibler divergence of the logits' distribution from the teacher's, nats."""
    log_p, log_q = (torch.log_softmax(z, -1).flatten(0, 1) for z in (teacher, logits))
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def pick_device() -> torch.device:
    """CUDA where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_compiler(device: torch.device) -> None:
    """Raises SpikeletError where torch.compile would find no C++ compiler."""
    compiler = os.environ.get("CXX", "g++")  # as torch.compile looks for it
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise SpikeletError(f"--compiled needs a C++ compiler, and there is no {compiler}: install "
                            "one, name one in CXX, or leave --compiled out")


def train_quantised(start: Checkpoint, windows: Windows, settings: Settings, folder: Path,
                    teacher: Checkpoint | None = None, compiled: bool = False,
                    tell: Tell = unheard) -> tuple[Checkpoint, Result]:
    """Trains the quantised model of a checkpoint: first in float, then behind its quantisers.

    Args:
        start: untrained weights or a checkpoint.
        windows: token windows of the text.
        folder: holds the state from which an interrupted run goes on.
        teacher: with `settings.distil`, the model whose distribution is learned too; it has the
            vocabulary of `start`.
        compiled: compile the step first (takes half a minute, then runs about 1.5 times as fast;
            needs a C++ compiler).

    Raises:
        SpikeletError: a teacher of another vocabulary or of less context than a window, a loss that
            is no finite number, no compiler for `compiled`, a state of another run.
    """
    device = pick_device()
    if compiled:
        check_compiler(device)
    model = QuantisedNetwork(start).to(device)
    model.requires_grad_(True)
    model.train()
    guide = None
    if teacher is not None and settings.distil:
        if teacher.config.vocab != start.config.vocab:
            raise SpikeletError(f"the teacher has {teacher.config.vocab} tokens, the model "
                                f"{start.config.vocab}: distillation needs the same vocabulary; "
                                "leave --distil out, or give the teacher's tokenizer")
        if teacher.config.context < windows.length:
            raise SpikeletError(f"windows of {windows.length} tokens do not fit the teacher's "
                                f"context of {teacher.config.context}: give a --length that does")
        guide = FloatModel(teacher).to(device)
    float_steps = round(settings.float_share * settings.steps)

    def loss_of(forward: Callable[[torch.Tensor], torch.Tensor]):
        def loss(ids: torch.Tensor) -> torch.Tensor:
            logits = forward(ids[:, :-1])
            value = cross_entropy(logits, ids)
            if guide is not None:
                with torch.no_grad():
                    wanted = guide(ids[:, :-1])
                value = value + settings.distil * (divergence(logits, wanted) - value)
            return value
        return torch.compile(loss) if compiled else loss

    in_float = loss_of(lambda ids: FloatModel.forward(model, ids))
    in_codes = loss_of(lambda ids: model.train_step(ids)[0])
    trainer = Trainer(model, lambda ids, step: (in_float if step < float_steps else in_codes)(ids),
                      windows, settings, folder, QUANTISED, identity={
                          "model to begin with": fingerprint(start),
                          "teacher": None if guide is None else fingerprint(teacher)})
    result = trainer.run(tell)
    return model.checkpoint(), result
