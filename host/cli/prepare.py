"""Opens the device that a user names and compiles the model for it, ready to generate."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from host.cli.device import Device, DeviceKind, board_configuration, open_device
from host.cli.sources import (
    ScheduleName,
    Weights,
    begin_and_end,
    make_image,
    model_path,
    read_model,
    read_tokenizer,
    vocabulary,
)
from host.cli.terminal import progress

if TYPE_CHECKING:  # help must not wait for NumPy
    from golden.tokenizers.tokenizer import Tokenizer
    from host.driver import Driver
    from host.transport import Transport
    from isa.image import Image


@dataclass(frozen=True)
class Prepared:
    """An open device, an image that fits it, its tokenizer, and the tokens of the prompt."""

    transport: "Transport"
    image: "Image"
    words: "Tokenizer"
    prompt: list[int]

    def load(self) -> "Driver":
        """Loads the image into the device, with a progress bar."""
        from host.driver import Driver

        with progress("loading the model") as tell:
            return Driver(self.transport, self.image,
                          lambda done, all_: tell(done / all_, f"{all_:,} words"))


def prepare(
    stack: ExitStack,
    device: Device,
    prompt: str,
    max_new_tokens: int,
    model: Path | None = None,
    tokenizer: Path | None = None,
    config: str | None = None,
    weights: Weights | None = None,
    schedule: ScheduleName | None = None,
    waves: Path | None = None,
) -> Prepared:
    """Opens a device until `stack` is left, and compiles the model for it.

    A board is opened before the model is read: it says for which configuration to compile, unless
    the user does. Mistakes in model and prompt show before a simulator is built.

    Raises:
        SpikeletError: a file is wrong, the model or the prompt does not fit, or there is no device.
    """
    from host.driver import check_prompt
    from isa.image import Image

    path = model_path(model)
    board = stack.enter_context(open_device(device)) if device.kind is DeviceKind.serial else None
    source = read_model(path, config)
    if board is not None and config is None and not isinstance(source, Image):
        config = board_configuration(board).name
    words = read_tokenizer(path, tokenizer, vocabulary(source))
    ids = words.encode(prompt)
    image = make_image(source, config, weights, schedule, *begin_and_end(path, words))
    check_prompt(image, ids, max_new_tokens)
    transport = board or stack.enter_context(open_device(device, image.configuration, waves))
    return Prepared(transport, image, words, ids)
