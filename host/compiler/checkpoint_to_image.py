"""From a checkpoint of any size to an image: calibrated, quantised and written layer by layer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from golden.checkpoints.checkpoint import Checkpoint
from golden.quantisation.calibrate import Calibration, calibrate
from golden.quantisation.quantise import Layer, outline
from golden.quantisation.synapses import Synapses
from host.compiler.emit import Assembly, Put
from host.compiler.plan import plan
from isa.configurations import Configuration
from isa.image import ImageWriter, check_writable

Tell = Callable[[float, str], None]


class _ImageSink:
    """Takes a model's integers part by part and puts them into an image file."""

    def __init__(self, assembly: Assembly, writer: ImageWriter) -> None:
        self._assembly, self._writer = assembly, writer

    def _put(self, puts: Iterable[Put]) -> None:
        for index, first, words in puts:
            self._writer.put(index, words, first)

    def embedding(self, synapses: Synapses) -> None:
        self._put(self._assembly.embedding(synapses))

    def layer(self, n: int, layer: Layer) -> None:
        self._put(self._assembly.layer(n, layer))

    def head(self, synapses: Synapses) -> None:
        self._put(self._assembly.head(synapses))

    def close(self) -> None:
        """What needs all integers; the image then has its name."""
        self._put(self._assembly.constants())
        self._writer.close(self._assembly.image())


def convert(
    checkpoint: Checkpoint,
    documents: list[list[int]],
    path: Path,
    c: Configuration,
    weights: str = "resident",
    schedule: str = "phase",
    context: int | None = None,
    end_token: int | None = None,
    tell: Tell | None = None,
) -> Calibration:
    """Writes the image of a checkpoint, calibrated on documents (lists of token ids).

    It is the image that `compile_model` makes of `quantise_calibrated`. No more than one layer's
    weights are in memory at a time. Arguments are those of `compile_model`; `tell` is told how
    much is done and at what stage.

    Raises:
        SpikeletError: a configuration that is too small, activations that no vector holds, or a
            file that cannot be written; what had its name before is unchanged.
    """
    check_writable(path)
    options = (c, weights, schedule, context, end_token)
    plan(outline(checkpoint), *options)  # what does not fit is said before the work

    @contextmanager
    def open_sink(fraction: int) -> Iterator[_ImageSink]:
        assembly = Assembly(plan(outline(checkpoint, fraction), *options))
        with ImageWriter(path, assembly.image()) as writer:
            sink = _ImageSink(assembly, writer)
            yield sink
            sink.close()

    return calibrate(checkpoint, documents, open_sink=open_sink, tell=tell)
