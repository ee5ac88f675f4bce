"""External memory as the compiler fills it: pieces, parts and their headers (isa/external.py)."""

from dataclasses import dataclass

import numpy as np

from golden.quantisation.quantise import Synapses
from host.compiler.layout import ceil, map_words, tile_outputs
from host.compiler.weights import parameter_words, tiles
from isa.configurations import Configuration
from isa.external import PART


@dataclass(frozen=True)
class Place:
    """Where a map's parts begin in its area, and whether its last part ends the piece."""

    offset: int
    last: bool


def place(maps: dict[str, Synapses], c: Configuration) -> dict[str, Place]:
    """The place of every map but the embedding, which are given in order of consumption."""
    places, at = {}, 0
    names = [name for name in maps if name != "embedding"]
    for name, following in zip(names, [*names[1:], None], strict=True):
        if name == "head":
            at = 0
        places[name] = Place(at, following in ("head", None))
        at += map_words(maps[name].outputs, maps[name].inputs, maps[name].bias is not None, c)
    return places


def _header(last: bool = False, **fields: int) -> np.ndarray:
    return np.array([PART.pack(last=last, **fields)], dtype=np.uint32)


def map_parts(m: Synapses, c: Configuration, last: bool) -> list[np.ndarray]:
    """Words of each tile of a map: parameters, then rows, as deep as the tile has outputs."""
    found, start = [], 0
    counts = tile_outputs(m.outputs, c)
    for n, count in enumerate(counts):
        parameters = parameter_words(m, c, start, count).reshape(-1).view(np.uint32)
        each = ceil(count, 4)
        rows = _words(tiles(m.weight[start : start + count], c)[0], each)
        ends = last and n == len(counts) - 1
        found.append(np.concatenate([
            _header(length=parameters.size, parameter=1), parameters,
            _header(length=rows.size, row_words=each - 1, last=ends), rows,
        ]))  # fmt: skip
        start += count
    return found


def token_pieces(weight: np.ndarray, c: Configuration) -> np.ndarray:
    """(dim, tokens) -> (tokens, words): a part for each tile, its row of core 0 alone."""
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


def _words(rows: np.ndarray, each: int) -> np.ndarray:
    """int8 (..., cores, lanes) as link words, the first `each` of every core's row."""
    return np.ascontiguousarray(rows[..., : 4 * each]).reshape(-1).view(np.uint32)
