"""Stage 3: plasticity under the task signal, from a quantised model to one that fires less."""

from dataclasses import asdict
from pathlib import Path

import torch

from golden.model.checkpoint import Checkpoint
from golden.model.quantised import QuantisedNetwork
from golden.model.responses import Responses
from golden.training.corpus import Windows
from golden.training.loop import Result, Settings, Tell, Trainer, fingerprint
from golden.training.plasticity import (
    GlobalSignal,
    Rules,
    neuron_rule,
    penalty,
    synapse_rule,
)
from golden.training.quantised import cross_entropy, divergence, pick_device

STAGE = "plasticity"
LOCAL_WINDOWS = 2  # windows of a batch that the synapses' local rule looks at


def train_plasticity(start: Checkpoint, windows: Windows, settings: Settings, rules: Rules,
                     folder: Path, name: str = STAGE, tell: Tell = lambda fraction, stage: None,
                     teacher: Checkpoint | None = None) -> tuple[Checkpoint, Result]:
    """Trains neurons and synapses of a quantised model under the rules.

    The task is the next token of the text, and with `settings.distil` the distribution of a
    teacher, by default the model as it was at the start.

    Args:
        start: what stage 1 made, or an earlier stage 3.
        teacher: a quantised model of the same vocabulary, such as stage 1's.
        name: of the state file in `folder` from which an interrupted run goes on.

    Raises:
        SpikeletError: a loss that is no finite number, a state of another run.
    """
    device = pick_device()
    model = QuantisedNetwork(start).to(device)
    model.responses = Responses(start.thresholds).to(device)
    model.requires_grad_(True)
    model.train()
    guide = (QuantisedNetwork(teacher or start).to(device).train() if settings.distil
             else None)
    signal = GlobalSignal(rules.beta, rules.W)
    last: dict = {}

    def loss(ids: torch.Tensor, step: int) -> torch.Tensor:
        logits, fired = model.train_step(ids[:, :-1])
        task = cross_entropy(logits, ids)
        last.update(fired=fired, task=float(task.detach()), step=step)
        if guide is not None:
            with torch.no_grad():
                wanted, _ = guide.train_step(ids[:, :-1])
            task = task + settings.distil * (divergence(logits, wanted) - task)
        return rules.lambda_task * task + penalty(rules, fired, model)

    def local_rules(ids: torch.Tensor) -> None:
        G = signal(last["task"])
        if rules.eta_theta or rules.eta_alpha:
            neuron_rule(rules, last["fired"], model, G)
        if rules.eta_w and last["step"] % rules.every == 0:
            synapse_rule(rules, model, ids[:LOCAL_WINDOWS, :-1], G, last["task"])

    trainer = Trainer(model, loss, windows, settings, folder, name, local_rules,
                      {"model to begin with": fingerprint(start), "set of rules": asdict(rules),
                       "teacher": fingerprint(teacher or start)},
                      signal.losses)
    result = trainer.run(tell)
    return model.checkpoint(), result

