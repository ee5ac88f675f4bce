"""What devices make of images: tokens, logits, vectors and every counter."""

from pathlib import Path

import numpy as np

from golden.checkpoints.checkpoint import Checkpoint
from golden.quantisation.quantise import QuantisedModel
from golden.tokenizers.tokenizer import Tokenizer
from host.compiler.compile import compile_model
from host.driver import Driver
from host.sampling import Sampler
from host.transport import Transport
from host.transport.golden import GoldenTransport
from host.transport.simulated import SimulatedTransport
from isa.configurations import configuration
from isa.image import Image, load_image
from tests.system.results import exact_models
from tests.system.results.digests import digest, short
from tests.system.results.models import NEW_TOKENS, PROMPTS

IMAGE_FILE = Path(__file__).parents[1] / "recordings" / "tiny_streamed.image"
SAMPLED_TOKENS = 6
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
        found[key] = _session(GoldenTransport(c), image, exact_models.prompt(q), 4.0)
        if "vectors" not in found:
            found["vectors"] = _vectors(GoldenTransport(c), image, exact_models.prompt(q))
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
        exact_models.prompt(exact_models.model("tiny")), 4.0)


def simulated_image_file() -> dict:
    """The same on the simulated device, with its cycles."""
    image = load_image(IMAGE_FILE)
    with SimulatedTransport(configuration(image.configuration)) as transport:
        return _session(transport, image, exact_models.prompt(exact_models.model("tiny")), 4.0)


def simulated(name: str, place: str) -> dict:
    """An exact model on one simulated configuration: every counter, cycles and stalls included."""
    q, c, found = exact_models.model(name), configuration(place), {}
    for where, weights, schedule in DEVICES[name]:
        if where == place:
            image = compile_model(q, c, weights=weights, schedule=schedule)
            with SimulatedTransport(c) as transport:
                found[f"{weights} {schedule}"] = _session(transport, image,
                                                          exact_models.prompt(q), 4.0)
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
