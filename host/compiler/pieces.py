"""External memory as the compiler fills it: parts and their headers (isa/external.py)."""

from collections.abc import Iterator

import numpy as np

from golden.quantisation.synapses import Synapses
from host.compiler.shapes import ceil, tile_outputs
from host.compiler.weights import parameter_words, row_words, tiles
from isa.configurations import Configuration
from isa.external import PART


def _header(last: bool = False, **fields: int) -> np.ndarray:
    return np.array([PART.pack(last=last, **fields)], dtype=np.uint32)


def map_parts(m: Synapses, c: Configuration, last: bool) -> Iterator[np.ndarray]:
    """Words of each tile of a map: parameters, then rows, as deep as the tile has outputs.

    last: the map's last part is the last one of its piece.
    """
    start = 0
    counts = tile_outputs(m.outputs, c)
    for n, count in enumerate(counts):
        parameters = parameter_words(m, c, start, count)
        each = ceil(count, 4)
        rows = row_words(tiles(m.weight[start : start + count], c)[0][..., : 4 * each])
        ends = last and n == len(counts) - 1
        yield np.concatenate([
            _header(length=parameters.size, parameter=1), parameters,
            _header(length=rows.size, row_words=each - 1, last=ends), rows,
        ])  # fmt: skip
        start += count


def token_pieces(weight: np.ndarray, c: Configuration) -> np.ndarray:
    """(dim, tokens) -> link words (tokens, words): a part a tile, its row of core 0 alone."""
    parts, start = [], 0
    counts = tile_outputs(weight.shape[0], c)
    for n, count in enumerate(counts):
        each = ceil(count, 4)
        header = _header(last=n == len(counts) - 1, length=each, row_words=each - 1, one_core=1)
        padded = np.zeros((weight.shape[1], 4 * each), dtype=np.int8)
        padded[:, :count] = weight[start : start + count].T
        parts += [np.broadcast_to(header, (weight.shape[1], 1)), padded.view(np.uint32)]
        start += count
    return np.concatenate(parts, axis=1)
