"""Results that must stay: images, tokens, logits, counters and cycles, case by case.

Each case gives a dictionary of numbers, texts and hashes; `tests/system/recordings/results.json`
holds what they gave when they were recorded (tests/system/record_results.py), and
`tests/system/test_results.py` compares. Everything here is computed with integers, or from floats
so far apart that no rounding changes what is recorded; so the results are the same on every
machine. Nothing depends on SPIKELET_SEED.
"""

import functools
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
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
from host.compiler import compile_model
from host.driver import Driver
from host.sampling import Sampler
from host.transport import Transport
from host.transport.golden import GoldenTransport
from host.transport.simulated import SimulatedTransport
from isa.configurations import CONFIGURATIONS, configuration
from isa.contents import contents, image_identity
from isa.errors import SpikeletError
from isa.image import Image, load_image
from isa.schedule import SCHEDULES
from tests.shared import shared_file
from tests.system import exact_models
from tests.system.results_contract import contract

RECORDINGS = Path(__file__).parent / "recordings"
RESULTS = RECORDINGS / "results.json"
IMAGE_FILE = RECORDINGS / "tiny_streamed.image"
WEIGHTS = ("resident", "streamed", "external")
PART_DIGITS = 8  # hexadecimal, of the hash of a part, which only says where a difference is

SHIPPED_FRACTION, STORIES_FRACTION = 9, 12
PROMPTS = ("Once upon a time", "The little bird was sad")
NEW_TOKENS, SAMPLED_TOKENS = 10, 6
FLOAT_MARGIN = 1e-3  # between the two largest logits: far above what float32 may differ by
POSITION = 64  # whose cycles the documents tell

# What a model runs on: (configuration, weights, schedule).
Device = tuple[str, str, str]
DEVICES: dict[str, tuple[Device, ...]] = {
    "tiny": (("tiny", "resident", "phase"), ("tiny", "streamed", "phase"),
             ("tiny", "resident", "unary"), ("tiny_sdram", "external", "phase")),
    "raised": (("tiny", "resident", "phase"),),
    "loud": (("tiny", "resident", "phase"),),
    "gate": (("tiny", "resident", "phase"), ("tiny", "streamed", "phase")),
    "odd": (("small", "resident", "phase"), ("ulx3s_sdram", "external", "phase")),
    "odd_gate": (("small", "streamed", "phase"),),
    "wide": (("small", "resident", "phase"),),
}  # fmt: skip
SMALL_CONFIGURATIONS = ("tiny", "small", "tiny_sdram")
PHASE = ("phase",)


def digest(*parts: bytes | np.ndarray | torch.Tensor) -> str:
    """The SHA-256 of bytes, or of integers as 64 bits each, little-endian."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part if isinstance(part, bytes)
                      else np.asarray(part).astype("<i8").tobytes())
    return hashed.hexdigest()


def short(*parts: bytes | np.ndarray | torch.Tensor) -> str:
    """The beginning of a digest: of a part of what is hashed as a whole, too."""
    return digest(*parts)[:PART_DIGITS]


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def differences(recorded: object, found: object, path: str = "") -> list[str]:
    """A line for each place in which two JSON values differ; None: nothing is there."""
    pairs: list[tuple[object, object, object]]
    if isinstance(recorded, dict) and isinstance(found, dict):
        pairs = [(k, recorded.get(k), found.get(k)) for k in {**recorded, **found}]
    elif isinstance(recorded, list) and isinstance(found, list):
        pairs = [(n, *pair) for n, pair in enumerate(zip_longest(recorded, found))]
    elif recorded == found:
        return []
    else:
        texts = ("nothing" if value is None else json.dumps(value) for value in (recorded, found))
        return ["{}: recorded {}, now {}".format(path.strip(), *texts)]
    return [line for key, *pair in pairs for line in differences(*pair, f"{path} {key}")]


def text_of(results: dict[str, dict]) -> str:
    """The recorded file: JSON with a line for each entry of each case."""
    cases = []
    for name, case in sorted(results.items()):
        entries = ",\n".join(f"  {json.dumps(key)}: {json.dumps(case[key])}" for key in case)
        cases.append(f" {json.dumps(name)}: {{\n{entries}\n }}")
    return "{\n" + ",\n".join(cases) + "\n}\n"


# ---- models ----------------------------------------------------------------------------------


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
    ids = torch.tensor(_prompt(q))
    return {"spiking_logits": digest(SpikingModel(q)(ids)),
            "quantised_logits": digest(network(ids))}


# ---- images ----------------------------------------------------------------------------------


def images(q: QuantisedModel, names: tuple[str, ...] = tuple(CONFIGURATIONS),
           schedules: tuple[str, ...] = tuple(SCHEDULES)) -> dict:
    """The image of a model for every configuration, "does not fit" where there is none."""
    return {
        f"{name} {weights} {schedule}": _image(q, name, weights, schedule)
        for name in names for weights in WEIGHTS for schedule in schedules
    }  # fmt: skip


def exact_images(name: str) -> dict:
    """The images of an exact model; the unary schedule, which concerns no weights, for one."""
    schedules = tuple(SCHEDULES) if name == "tiny" else PHASE
    return images(exact_models.model(name), SMALL_CONFIGURATIONS, schedules)


def _image(q: QuantisedModel, name: str, weights: str, schedule: str) -> dict | str:
    try:
        image = compile_model(q, configuration(name), weights=weights, schedule=schedule)
    except SpikeletError:
        return "does not fit"
    with tempfile.TemporaryDirectory() as folder:
        image.save(Path(folder) / "image")
        file = (Path(folder) / "image").read_bytes()
    return {"file": digest(file), "bytes": len(file), "identity": image_identity(image),
            "parts": _parts(image)}


def _parts(image: Image) -> dict[str, str]:
    """Hashes of what is in an image: description, settings, each memory, what is streamed."""
    parts: dict[str, list] = {}
    for section in image.sections:
        parts.setdefault(section.space.name, []).extend((section.address, section.words))
    if image.stream is not None:
        parts["embedding"] = [image.stream.embedding]
        for name in ("body", "head"):
            parts[name] = [part for pair in getattr(image.stream, name) for part in pair]
    return {"model": short(_json(image.model)), "settings": short(_json(image.settings))} | {
        name: short(*arrays) for name, arrays in parts.items()
    }


def power_on_contents() -> dict:
    """What a bitstream's memories hold with a model in them."""
    c = configuration("tiny")
    held = contents(compile_model(exact_models.model("tiny"), c), c)
    return {"identity": held.identity, "settings": dict(sorted(held.settings.items()))} | {
        space.name: short(*(entry.to_bytes(64, "little") for entry in entries))
        for space, entries in held.entries.items()
    }


# ---- devices ---------------------------------------------------------------------------------


def _prompt(q: QuantisedModel) -> list[int]:
    return [(7 * n * n + 3 * n + 1) % q.config.vocab for n in range(6)]


def _generated(driver: Driver, prompt: list[int], count: int,
               sampler: Sampler | None = None) -> dict:
    result = driver.generate(prompt, count, sampler=sampler)
    return {"tokens": result.tokens, "stop": result.stop.name,
            "counters": _counted(result.counters)}


def _counted(counters: dict[str, int]) -> dict[str, int]:
    """What is not there counted nothing."""
    return {name: count for name, count in counters.items() if count}


def _session(transport: Transport, image: Image, prompt: list[int], temperature: float) -> dict:
    """A greedy and a sampled generation and the logits of the prompt."""
    driver = Driver(transport, image)
    sampler = Sampler(image.model["fraction"], temperature, top_k=40, top_p=0.95, seed=3)
    return {
        "greedy": _generated(driver, prompt, NEW_TOKENS),
        "sampled": _generated(driver, prompt, SAMPLED_TOKENS, sampler),
        "logits": digest(driver.logits(prompt)),
    }


def golden(name: str) -> dict:
    """An exact model on golden devices; `vectors`: what the operators write on the first."""
    q, found = exact_models.model(name), {}
    for place, weights, schedule in DEVICES[name]:
        c = configuration(place)
        image = compile_model(q, c, weights=weights, schedule=schedule)
        key = f"{place} {weights} {schedule}"
        found[key] = _session(GoldenTransport(c), image, _prompt(q), 4.0)
        if "vectors" not in found:
            found["vectors"] = _vectors(GoldenTransport(c), image, _prompt(q))
    return found


def _vectors(transport: GoldenTransport, image: Image, prompt: list[int]) -> dict[str, str]:
    """Hashes of what each operator of the program (all heads) writes while a prompt runs."""
    driver = Driver(transport, image)
    transport.device.trace = trace = []
    driver.logits(prompt)
    written: dict[str, list[np.ndarray]] = {}
    for write in trace:
        operator = image.model["labels"][write.pc].rstrip("0123456789").rstrip(".")
        exponents = np.zeros(0) if write.exponents is None else write.exponents
        written.setdefault(operator, []).extend((write.data, exponents))
    return {operator: short(*data) for operator, data in written.items()}


def golden_stories(model: tuple[Checkpoint, Tokenizer, QuantisedModel], *kinds: str) -> dict:
    """A story model on the golden device, a prompt with each kind of weights."""
    (_, tokenizer, q), c = model, configuration("ulx3s")
    found: dict = {}
    for text, weights in zip(PROMPTS, kinds, strict=False):
        image = compile_model(q, c, weights=weights)
        ids = tokenizer.encode(text)
        session = _session(GoldenTransport(c), image, ids, 0.9)
        found[f"{text} ({weights})"] = session | {
            "text": tokenizer.decode(ids + session["greedy"]["tokens"])
        }
    return found


def write_image_file() -> None:
    """Writes the image that `image_file` and `simulated_image_file` load."""
    compile_model(exact_models.model("tiny"), configuration("tiny"), weights="streamed",
                  end_token=7).save(IMAGE_FILE)


def image_file() -> dict:
    """An image that was written by an earlier state of the compiler, on the golden device."""
    image = load_image(IMAGE_FILE)
    return {"file": digest(IMAGE_FILE.read_bytes())} | _session(
        GoldenTransport(configuration(image.configuration)), image,
        _prompt(exact_models.model("tiny")), 4.0)


def simulated_image_file() -> dict:
    """The same on the simulated device, with its cycles."""
    image = load_image(IMAGE_FILE)
    with SimulatedTransport(configuration(image.configuration)) as transport:
        return _session(transport, image, _prompt(exact_models.model("tiny")), 4.0)


def simulated(name: str, place: str) -> dict:
    """An exact model on one simulated configuration: every counter, cycles and stalls included."""
    q, c, found = exact_models.model(name), configuration(place), {}
    for where, weights, schedule in DEVICES[name]:
        if where == place:
            image = compile_model(q, c, weights=weights, schedule=schedule)
            with SimulatedTransport(c) as transport:
                found[f"{weights} {schedule}"] = _session(transport, image, _prompt(q), 4.0)
    return found


def position_64(model: tuple[Checkpoint, Tokenizer, QuantisedModel]) -> dict:
    """What the `ulx3s` device counts for the token at position 64, weights resident."""
    (_, tokenizer, q), c = model, configuration("ulx3s")
    with SimulatedTransport(c) as transport:
        driver = Driver(transport, compile_model(q, c))
        prompt = tokenizer.encode(PROMPTS[0])
        prompt += driver.generate(prompt, POSITION - len(prompt)).tokens
        before, until = (driver.generate(prompt, count).counters for count in (1, 2))
    return {"tokens": prompt,
            "counters": _counted({name: until[name] - before[name] for name in until})}


# ---- cases -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What is recorded under one name. `slow`: builds the simulator of a large configuration."""

    compute: Callable[[], dict]
    slow: bool = False


CASES = {
    "contract": Case(contract),
    "checkpoints": Case(checkpoints),
    "models/shipped": Case(models),
    **{f"models/{name}": Case(functools.partial(spiking, name)) for name in exact_models.SHAPES},
    "images/shipped": Case(lambda: images(shipped()[2])),
    "images/stories260K": Case(lambda: images(stories260k()[2], ("ulx3s",))),
    **{f"images/{name}": Case(functools.partial(exact_images, name))
       for name in exact_models.SHAPES},
    "images/power_on": Case(power_on_contents),
    "golden/shipped": Case(lambda: golden_stories(shipped(), "resident", "streamed")),
    "golden/stories260K": Case(lambda: golden_stories(stories260k(), "resident")),
    **{f"golden/{name}": Case(functools.partial(golden, name)) for name in DEVICES},
    "golden/image_file": Case(image_file),
    **{f"simulated/{name}": Case(functools.partial(simulated, name, "tiny"))
       for name in ("tiny", "raised", "loud", "gate")},
    "simulated/image_file": Case(simulated_image_file),
    "simulated/external": Case(functools.partial(simulated, "tiny", "tiny_sdram"), slow=True),
    "position_64/shipped": Case(lambda: position_64(shipped()), slow=True),
    "position_64/stories260K": Case(lambda: position_64(stories260k()), slow=True),
}  # fmt: skip
