"""The compiler: a quantised model becomes the image and program of one device configuration."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from golden.quantisation.quantise import Layer, QuantisedModel, Synapses
from host.compiler import external_image as external
from host.compiler.layout import Layout, ceil, choose, missing, unfit
from host.compiler.program import Placed, build
from host.compiler.schedules import place_schedules
from host.compiler.weights import (
    pad_inputs,
    pad_outputs,
    parameter_words,
    rotation_words,
    row_words,
    tiles,
)
from isa.configurations import Configuration
from isa.errors import SpikeletError
from isa.image import Image, Section, Stream, blank
from isa.instructions import INSTRUCTION_LINK_WORDS
from isa.packets import Space

CHUNK_WORDS = 1 << 20  # of the embedding's rows, which are made at a time


def compile_model(
    q: QuantisedModel,
    c: Configuration,
    weights: str = "resident",
    schedule: str = "phase",
    context: int | None = None,
    end_token: int | None = None,
) -> Image:
    """The image of a model for one configuration.

    Args:
        weights: "resident" puts all weights into row memory, "external" into external memory,
            "streamed" has the host send them.
        schedule: "phase", the model's own schedules (phases with each population's thresholds),
            or "unary" for all populations (isa/schedule.py).
        context: positions to make room for; by default as many as fit, at most the model's.
        end_token: generation stops at this token.

    Raises:
        SpikeletError: the configuration is too small; the text says what is missing.
    """
    assembly = Assembly(q, c, weights, schedule, context, end_token, accumulator_bound(q))
    arrays = [np.empty(words.shape, np.uint32) for words in assembly.image().arrays()]
    layers = (assembly.layer(n, layer) for n, layer in enumerate(q.layers))
    for index, first, words in itertools.chain(
        assembly.embedding(q.embedding), *layers, assembly.head(q.head), assembly.constants()
    ):
        arrays[index].reshape(-1)[first : first + words.size] = words
    return assembly.image(arrays)


def accumulator_bound(q: QuantisedModel) -> int:
    """The largest |accumulator| that any codes can give in any map; the embedding's are weights."""
    return max(m.accumulator_bound for layer in q.layers for m in _maps_of(layer) + [q.head])


def _maps_of(layer: Layer) -> list[Synapses]:
    return [layer.qkv, layer.out, layer.gate, layer.up, layer.down]


Put = tuple[int, int, np.ndarray]  # words of array number i of the image, from a word on


class Assembly:
    """A model on its way into an image, map by map, so that its integers need not be there at once.

    Where everything lies, and how large every array of the image is, follows from shapes alone.
    `embedding`, `layer` and `head` give the arrays of the maps that they are handed, in any order;
    once all of them are through, `constants` gives the others and `image` describes the whole.

    Args:
        q: the model; its maps may be outlines (golden/quantisation/quantise.py `outline`).
        bound: the largest accumulator, as far as it is known.
        weights, schedule, context, end_token: as for `compile_model`.

    Raises:
        SpikeletError: the configuration is too small, here or in `layer` and `head`.
    """

    def __init__(
        self, q: QuantisedModel, c: Configuration, weights: str = "resident",
        schedule: str = "phase", context: int | None = None, end_token: int | None = None,
        bound: int = 0,
    ) -> None:  # fmt: skip
        if weights not in ("resident", "streamed", "external"):
            raise SpikeletError("weights are 'resident', 'streamed' or 'external', not "
                                f"'{weights}'")
        self.q, self.c, self._context = q, c, context
        self._weights, self._schedule, self._end_token = weights, schedule, end_token
        self._schedules = place_schedules(q, schedule)
        self._layers = list(q.layers)
        self.layout = a = choose(q, c, weights, context, bound)
        self._bound = bound
        maps = _maps(q, a)
        self._placed = _place(maps, a)
        self._program = build(q, a, self._placed, self._schedules.first_step)
        short = missing(a, len(self._program.words))
        if short:
            a.needs["program_depth"] = len(self._program.words)
            raise unfit(q, a, short, context, bound)
        # Arrays in the order of the image: (part, space, address, shape).
        self._parts: list[tuple[str, Space, int, tuple[int, ...]]] = []
        self._first: dict[str, int] = {}  # of each map's (or memory's) arrays
        self._plan(maps)

    def _plan(self, maps: dict[str, Synapses]) -> None:
        a, c, parts = self.layout, self.c, self._parts
        tile, word = c.cores * c.lanes // 4, c.vector_lanes // 2  # link words of a row, a gain word
        for name, p in self._placed.items():
            self._first[name] = len(parts)
            m = p.synapses
            if p.row is not None:
                rows = a.shapes.matrix_rows(m.outputs, m.inputs)
                parts.append(("section", Space.ROW, p.row * tile, (rows * tile,)))
            if p.parameter is not None:
                groups = a.shapes.tile_words(m.outputs) * (1 if m.bias is None else 3)
                parts.append(("section", Space.PARAMETER, p.parameter * word, (groups * word,)))
        for space, words in self._small().items():
            self._first[space.name] = len(parts)
            parts.append(("section", space, 0, (len(words),)))
        if not a.streamed:
            return
        if a.external:
            self._plan_external(maps)
            return
        e = maps["embedding"]
        self._first["tokens"] = len(parts)
        parts.append(("embedding", Space.ROW, 0, (e.inputs, ceil(e.outputs, c.lanes) * tile)))
        for name, m in maps.items():
            if name == "embedding":
                continue
            self._first[name] = len(parts)
            rows = ceil(m.inputs, c.cores) * tile
            for start in range(0, m.outputs, c.lanes):
                groups = ceil(min(c.lanes, m.outputs - start), c.vector_lanes)
                part = "head" if name == "head" else "body"
                words = groups * word * (1 if m.bias is None else 3)
                parts += [(part, Space.PARAMETER, 0, (words,)), (part, Space.ROW, 0, (rows,))]

    def _plan_external(self, maps: dict[str, Synapses]) -> None:
        areas, at = self.layout.areas, 0
        self._places = external.place(maps, self.c)
        for area, words in (("tokens", areas.embedding), ("body", areas.body),
                            ("head", areas.head)):  # fmt: skip
            self._first[area] = len(self._parts)
            self._parts.append(("section", Space.EXTERNAL, at, (words,)))
            at += words

    # ---- maps, as they come --------------------------------------------------------------------

    def embedding(self, m: Synapses) -> Iterator[Put]:
        """The arrays of the embedding."""
        self.q = replace(self.q, embedding=m.outline())
        if not self.layout.streamed:
            yield from self._resident("embedding", m)
            return
        yield self._first["embedding"], 0, _parameters(m, self.c, 0, m.outputs)
        rows_of = external.token_pieces if self.layout.external else _embedding_rows
        step = max(1, CHUNK_WORDS * 4 // (m.outputs * self.c.cores))
        for start in range(0, m.inputs, step):
            rows = rows_of(m.weight[:, start : start + step], self.c)
            yield self._first["tokens"], start * rows.shape[1], rows.reshape(-1)

    def layer(self, n: int, layer: Layer) -> Iterator[Put]:
        """The arrays of layer n."""
        self._layers[n] = layer.outline()
        self._check(max(m.accumulator_bound for m in _maps_of(layer)))
        for name, m in _layer_maps(layer, n, self.q, self.layout).items():
            yield from self._arrays(name, m)

    def head(self, m: Synapses) -> Iterator[Put]:
        """The arrays of the head."""
        self.q = replace(self.q, head=m.outline())
        self._check(m.accumulator_bound)
        yield from self._arrays("head", m)

    def _check(self, bound: int) -> None:
        if bound <= self._bound:
            return
        a, self._bound = self.layout, bound
        a.needs["accumulator_bits"] = max(a.needs["accumulator_bits"], bound.bit_length() + 1)
        short = missing(a, len(self._program.words))
        if short:
            raise unfit(self.q, a, short, self._context, bound)

    def _arrays(self, name: str, m: Synapses) -> Iterator[Put]:
        if not self.layout.streamed:
            yield from self._resident(name, m)
            return
        c = self.c
        if self.layout.external:
            where = self._places[name]
            index, at = self._first["head" if name == "head" else "body"], where.offset
            for words in external.map_parts(m, c, where.last):
                yield index, at, words
                at += words.size
            return
        index = self._first[name]
        for start in range(0, m.outputs, c.lanes):
            count = min(c.lanes, m.outputs - start)
            yield index, 0, _parameters(m, c, start, count)
            yield index + 1, 0, row_words(tiles(m.weight[start : start + count], c))
            index += 2

    def _resident(self, name: str, m: Synapses) -> Iterator[Put]:
        yield self._first[name], 0, row_words(tiles(m.weight, self.c))
        yield self._first[name] + 1, 0, _parameters(m, self.c, 0, m.outputs)

    # ---- the rest ------------------------------------------------------------------------------

    def constants(self) -> Iterator[Put]:
        """The arrays that are no map's: program, rotation, schedule and tables."""
        q = self.q = replace(self.q, layers=tuple(self._layers))
        maps = _maps(q, self.layout)
        self._placed = {name: replace(p, synapses=maps[name]) for name, p in self._placed.items()}
        self._program = build(q, self.layout, self._placed, self._schedules.first_step)
        for space, words in self._small().items():
            yield self._first[space.name], 0, words

    def _small(self) -> dict[Space, np.ndarray]:
        q, program, t, a = self.q, self._program, self.q.tables, self.layout
        instructions = [
            word >> 32 * i & 0xFFFFFFFF
            for word in program.words
            for i in range(INSTRUCTION_LINK_WORDS)
        ]
        exp2 = t.exp2_base | (t.exp2_slope & 0xFF) << 16
        silu = t.silu_base & 0xFFFFFF | (t.silu_slope & 0xFF) << 24
        small = {
            Space.ROTATION: rotation_words(q.cosine, q.sine, a.shapes, a.context),
            Space.PROGRAM: instructions,
            Space.SCHEDULE: self._schedules.words,
            Space.EXP2: exp2,
            Space.SILU: silu,
            Space.RSQRT: t.rsqrt,
            Space.RECIPROCAL: t.reciprocal,
        }
        return {space: np.asarray(words).astype(np.uint32) for space, words in small.items()}

    def image(self, arrays: Sequence[np.ndarray] | None = None) -> Image:
        """The image of all arrays; None: blank ones, which say how large each is."""
        q, a, m = self.q, self.layout, self.q.config
        if arrays is None:
            arrays = [blank(*shape) for *_, shape in self._parts]
        parts: dict[str, list] = {"section": [], "embedding": [], "body": [], "head": []}
        for (part, space, address, _), words in zip(self._parts, arrays, strict=True):
            parts[part].append((space, address, words))
        stream = None
        if a.streamed and not a.external:
            body, head = ([(space, words) for space, _, words in parts[part]]
                          for part in ("body", "head"))
            stream = Stream(parts["embedding"][0][2], body, head)
        model = dict(
            dim=m.dim, hidden=m.hidden, layers=m.layers, heads=m.heads, kv_heads=m.kv_heads,
            head_dim=m.head_dim, vocab=m.vocab, context=a.context, fraction=q.fraction,
            weights=self._weights, schedule=self._schedule,
            instructions=len(self._program.words), labels=self._program.labels, needs=a.needs,
        )  # fmt: skip
        settings = _settings(q, a, self._end_token) | self._schedules.settings
        sections = [Section(*section) for section in parts["section"]]
        return Image(self.c.name, self.c.identity, model, settings, sections, stream)


def _parameters(m: Synapses, c: Configuration, start: int, count: int) -> np.ndarray:
    return parameter_words(m, c, start, count).reshape(-1).view(np.uint32)


def _layer_maps(layer: Layer, n: int, q: QuantisedModel, a: Layout) -> dict[str, Synapses]:
    s, size, name = a.shapes, q.config.head_dim, f"layers.{n}."
    qkv = pad_outputs(layer.qkv, s.heads + 2 * s.kv_heads, size, s.head)
    query = s.heads * s.head
    return {  # keys and values first: they are stored while the queries gather
        name + "key_value": qkv.part(query, qkv.outputs),
        name + "query": qkv.part(0, query),
        name + "out": pad_inputs(layer.out, s.heads, size, s.head),
        name + "gate": layer.gate,
        name + "up": layer.up,
        name + "down": layer.down,
    }


def _maps(q: QuantisedModel, a: Layout) -> dict[str, Synapses]:
    """Every linear map by name, in order of use, with heads padded."""
    maps = {"embedding": q.embedding}
    for n, layer in enumerate(q.layers):
        maps |= _layer_maps(layer, n, q, a)
    return maps | {"head": q.head}


def _place(maps: dict[str, Synapses], a: Layout) -> dict[str, Placed]:
    s, placed = a.shapes, {}
    for name, m in maps.items():
        row = None if a.streamed else a.weights.take(s.matrix_rows(m.outputs, m.inputs))
        parameter = None
        if not a.streamed or name == "embedding":
            groups = s.tile_words(m.outputs) * (1 if m.bias is None else 3)
            parameter = a.parameters.take(groups)
        placed[name] = Placed(m, row, parameter)
    return placed


def _embedding_rows(weight: np.ndarray, c: Configuration) -> np.ndarray:
    """(dim, tokens) -> (tokens, words): one row a tile, its weights in core 0."""
    outputs, tokens = weight.shape
    count = ceil(outputs, c.lanes)
    rows = np.zeros((tokens, count, c.cores, c.lanes), dtype=np.int8)
    padded = np.zeros((tokens, count * c.lanes), dtype=np.int8)
    padded[:, :outputs] = weight.T
    rows[:, :, 0] = padded.reshape(tokens, count, c.lanes)
    return rows.reshape(tokens, -1).view(np.uint32)


def _settings(q: QuantisedModel, a: Layout, end_token: int | None) -> dict[str, int]:
    s = a.shapes
    settings = dict(
        silu_widen=12 - q.fraction,
        product_shift=q.fraction,
        mean_mantissa=q.norm.mean_mantissa,
        mean_shift=q.norm.mean_shift,
        epsilon_mantissa=q.norm.epsilon_mantissa,
        epsilon_shift=q.norm.epsilon_shift,
        rotation_stride=s.head // s.c.vector_lanes,
        exponent_stride=a.exponent_stride,
        key_stride=s.key_stride,
        context=a.context,
        end_token=end_token or 0,
        end_token_enable=int(end_token is not None),
    )
    if a.streamed:
        settings["row_ring_mask"] = a.row_ring - 1
        settings["parameter_ring_mask"] = a.parameter_ring - 1
    if a.external:
        settings |= dict(
            external_enable=1,
            external_embedding_words=a.areas.embedding // s.vocab,
            external_body=a.areas.embedding,
            external_body_words=a.areas.body,
            external_head=a.areas.embedding + a.areas.body,
            external_head_words=a.areas.head,
        )
    return settings
