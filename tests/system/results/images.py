"""What the compiler makes of the models: image files, byte by byte."""

import tempfile
from pathlib import Path

from golden.quantisation.quantise import QuantisedModel
from host.compiler.compile import compile_model
from isa.configurations import CONFIGURATIONS, configuration
from isa.contents import contents, image_identity
from isa.errors import SpikeletError
from isa.image import Image
from isa.schedule import SCHEDULES
from tests.system.results import exact_models
from tests.system.results.digests import digest, json_bytes, short

WEIGHTS = ("resident", "streamed", "external")
SMALL_CONFIGURATIONS = ("tiny", "small", "tiny_sdram")


def images(q: QuantisedModel, names: tuple[str, ...] = tuple(CONFIGURATIONS),
           schedules: tuple[str, ...] = tuple(SCHEDULES)) -> dict:
    """The image of a model for every configuration, "does not fit" where there is none."""
    return {
        f"{name} {weights} {schedule}": _image(q, name, weights, schedule)
        for name in names for weights in WEIGHTS for schedule in schedules
    }  # fmt: skip


def exact_images(name: str) -> dict:
    """The images of an exact model; the unary schedule, which concerns no weights, for one."""
    schedules = tuple(SCHEDULES) if name == "tiny" else ("phase",)
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
    described = {"model": image.model, "settings": image.settings}
    return ({name: short(json_bytes(value)) for name, value in described.items()}
            | {name: short(*arrays) for name, arrays in parts.items()})


def power_on_contents() -> dict:
    """What a bitstream's memories hold with a model in them."""
    c = configuration("tiny")
    held = contents(compile_model(exact_models.model("tiny"), c), c)
    return {"identity": held.identity, "settings": dict(sorted(held.settings.items()))} | {
        space.name: short(*(entry.to_bytes(64, "little") for entry in entries))
        for space, entries in held.entries.items()
    }
