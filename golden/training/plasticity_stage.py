"""Stage 3: plasticity under the task's signal makes a quantised model fire less."""

from dataclasses import asdict
from pathlib import Path

import torch

from golden.checkpoints.checkpoint import Checkpoint
from golden.float_model.model import FloatModel
from golden.progress import Tell, unheard
from golden.quantisation.network import QuantisedNetwork
from golden.quantisation.responses import Fired, Responses
from golden.training.corpus import Windows
from golden.training.loop import Result, Trainer, fingerprint
from golden.training.plasticity import (
    GlobalSignal,
    Rules,
    neuron_rule,
    penalty,
    synapse_rule,
)
from golden.training.quantised_stage import check_compiler, cross_entropy, divergence, pick_device
from golden.training.settings import Settings
from isa.errors import SpikeletError

PLASTICITY = "plasticity"  # names the state file
LOCAL_WINDOWS = 2  # windows of a batch that the synapses' local rule looks at


def train_plasticity(start: Checkpoint, windows: Windows, settings: Settings, rules: Rules,
                     folder: Path, name: str = PLASTICITY, tell: Tell = unheard,
                     teacher: Checkpoint | None = None,
                     compiled: bool = False) -> tuple[Checkpoint, Result]:
    """Trains neurons and synapses of a quantised model under the rules.

    The task is the next token of the text, and with `settings.distil` the distribution of a
    teacher in float, by default the model as it was at the start.

    Args:
        start: what stage 1 made, or an earlier stage 3.
        teacher: a model of the same vocabulary, such as stage 1's.
        compiled: compile the step first, as in stage 1; the loss then consists of the task and the
            spikes only.
        name: that of the state file in `folder`, from which an interrupted run goes on.

    Raises:
        SpikeletError: a loss that is no finite number, a state of another run, `compiled` with
            rules that it does not have, or without a compiler.
    """
    device = pick_device()
    if compiled:
        _check_compiled(rules, device)
    model = QuantisedNetwork(start).to(device)
    model.responses = Responses(start.thresholds).to(device)
    model.requires_grad_(True)
    model.train()
    guide = FloatModel(teacher or start).to(device) if settings.distil else None
    signal = GlobalSignal(rules.beta, rules.W)
    last: dict = {}

    def losses(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[Fired]]:
        logits, fired = model.train_step(ids[:, :-1])
        task = aim = cross_entropy(logits, ids)
        if guide is not None:
            with torch.no_grad():
                wanted = guide(ids[:, :-1])
            aim = task + settings.distil * (divergence(logits, wanted) - task)
        return rules.lambda_task * aim + penalty(rules, fired, model), task.detach(), fired

    fuse = torch.compile(losses) if compiled else losses

    def loss(ids: torch.Tensor, step: int) -> torch.Tensor:
        if compiled:
            model.responses.hold()
        total, task, fired = fuse(ids)
        last.update(fired=fired, task=float(task), step=step)
        return total

    def local_rules(ids: torch.Tensor) -> None:
        G = signal(last["task"])
        if rules.eta_theta or rules.eta_alpha:
            neuron_rule(rules, last["fired"], model, G)
        if rules.eta_w and last["step"] % rules.every == 0:
            synapse_rule(rules, model, ids[:LOCAL_WINDOWS, :-1], G, last["task"])

    trainer = Trainer(model, loss, windows, settings, folder, name, local_rules,
                      {"model to begin with": fingerprint(start), "set of rules": asdict(rules),
                       "teacher": fingerprint(teacher or start), "way": compiled},
                      signal.losses)
    result = trainer.run(tell)
    return model.checkpoint(), result


def _check_compiled(rules: Rules, device: torch.device) -> None:
    other = [name for name in ("eta_alpha", "eta_w", "lambda_potential", "lambda_time", "lambda_C")
             if getattr(rules, name)]
    if other:
        raise SpikeletError(f"--compiled is without {', '.join(other)}: leave it out, or them")
    check_compiler(device)
