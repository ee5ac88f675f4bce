"""What golden/ makes of the models: checkpoints, tokens and logits in every arithmetic."""

import functools
import tempfile
from pathlib import Path

import torch

from golden.checkpoints.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_llama2c,
)
from golden.float_model.model import FloatModel
from golden.quantisation.calibrate import calibrate
from golden.quantisation.network import QuantisedNetwork
from golden.quantisation.quantise import QuantisedModel, quantise
from golden.spiking_model.model import SpikingModel
from golden.tokenizers.load import load_tokenizer
from golden.tokenizers.tokenizer import Tokenizer
from golden.units.functions import default_tables
from host.cli.sources import SHIPPED_MODEL
from isa.schedule import SCHEDULES
from tests.shared import shared_file
from tests.system.results import exact_models
from tests.system.results.digests import digest, short

SHIPPED_FRACTION, STORIES_FRACTION = 9, 12
PROMPTS = ("Once upon a time", "The little bird was sad")
NEW_TOKENS = 10
FLOAT_MARGIN = 1e-3  # between the two largest logits: far above what float32 may differ by


@functools.cache
def shipped() -> tuple[Checkpoint, Tokenizer, QuantisedModel]:
    """The model that ships, at the fraction that calibration gives it."""
    checkpoint = load_checkpoint(SHIPPED_MODEL)
    return (checkpoint, load_tokenizer(SHIPPED_MODEL, checkpoint.config.vocab),
            quantise(checkpoint, SHIPPED_FRACTION))


@functools.cache
def stories260k() -> tuple[Checkpoint, Tokenizer, QuantisedModel]:
    """The llama2.c model; skips the test where it is absent."""
    checkpoint = load_checkpoint(shared_file("models/stories260K.bin"))
    tokenizer = load_tokenizer(shared_file("models/tok512.bin"), checkpoint.config.vocab)
    return checkpoint, tokenizer, quantise(checkpoint, STORIES_FRACTION)


def checkpoints() -> dict:
    """Weights of the exact models, the files in which they are saved, the function tables."""
    found: dict = {}
    for name in exact_models.SHAPES:
        c = exact_models.checkpoint(name)
        found[name] = {"weights": digest(*(w.tobytes() for _, w in sorted(c.weights.items())))}
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(c, folder)
            found[name] |= {f.name: digest(f.read_bytes()) for f in sorted(Path(folder).iterdir())}
            if not c.config.qkv_bias:
                save_llama2c(c, Path(folder) / "model.bin")
                found[name]["llama2c"] = digest((Path(folder) / "model.bin").read_bytes())
    return found | {"tables": {name: short(t) for name, t in vars(default_tables()).items()}}


def models() -> dict:
    """The shipped model in every arithmetic; the integers agree with one another."""
    checkpoint, tokenizer, q = shipped()
    floats, spiking = FloatModel(checkpoint), SpikingModel(q)
    network = QuantisedNetwork(checkpoint, q.fraction)
    found: dict = {}
    for text in PROMPTS:
        ids = tokenizer.encode(text)
        tokens = _greedy(floats, ids)
        whole = torch.tensor(ids + tokens)
        logits = spiking(whole)
        found[text] = {
            "ids": ids, "float_tokens": tokens, "spiking_tokens": _greedy(spiking, ids),
            "spiking_logits": digest(logits), "quantised_logits": digest(network(whole)),
        } | {f"{name}_spikes_in_time": digest(SpikingModel(q, schedule())(whole))
             for name, schedule in SCHEDULES.items()}  # fmt: skip
    documents = [tokenizer.encode(text) for text in PROMPTS]
    total = spiking.counters.total
    return found | {
        "calibrated_fraction": calibrate(checkpoint, documents).fraction,
        "saturations": spiking.counters.saturated,
        "activity": {name: getattr(total, name) for name in
                     ("neurons", "spikes", "unary_spikes", "synaptic_operations")},
    }


def _greedy(model: FloatModel | SpikingModel, ids: list[int]) -> list[int]:
    """The tokens that follow `ids`, each the largest logit."""
    tokens: list[int] = []
    for _ in range(NEW_TOKENS):
        best = model(torch.tensor(ids + tokens))[-1].topk(2)
        if best.values.is_floating_point():  # a tie would be decided by the machine's rounding
            assert best.values[0] - best.values[1] > FLOAT_MARGIN, "choose another prompt"
        tokens.append(int(best.indices[0]))
    return tokens


def spiking(name: str) -> dict:
    """An exact model in the integer model and in the quantised network."""
    q, network = exact_models.model(name), QuantisedNetwork(exact_models.checkpoint(name),
                                                            exact_models.FRACTION)
    ids = torch.tensor(exact_models.prompt(q))
    return {"spiking_logits": digest(SpikingModel(q)(ids)),
            "quantised_logits": digest(network(ids))}
