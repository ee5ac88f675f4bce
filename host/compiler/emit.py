"""Last pass: the arrays of the image, map by map, so that not all weights need be there at once."""

from collections.abc import Iterator, Sequence

import numpy as np

from golden.quantisation.quantise import Layer
from golden.quantisation.synapses import Synapses
from host.compiler.fit import missing, unfit
from host.compiler.graph import layer_bound, layer_maps
from host.compiler.pieces import map_parts, token_pieces
from host.compiler.plan import Plan
from host.compiler.shapes import ceil
from host.compiler.weights import parameter_words, rotation_words, row_words, tiles, token_rows
from isa.image import Image, Section, Stream, blank
from isa.instructions import INSTRUCTION_LINK_WORDS
from isa.packets import Space

CHUNK_WORDS = 1 << 20  # of the embedding's rows, which are made at a time

Put = tuple[int, int, np.ndarray]  # words of array number i of the image, from a word on


class Assembly:
    """The image of a plan, to which the maps' integers come one by one.

    `embedding`, `layer` and `head` give the arrays of the maps that they are handed, in any order;
    once all of them are through, `constants` gives the others and `image` describes the whole.

    Raises:
        SpikeletError: in `layer` and `head`, a map whose sums are too large for the configuration.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.layout, self.c = plan, plan.layout, plan.layout.shapes.c
        self._bound = plan.bound
        self._maps: dict[str, Synapses] = {}  # outlines of those that came
        # Arrays in the order of the image: (part, space, address, shape).
        self._arrays: list[tuple[str, Space, int, tuple[int, ...]]] = []
        self._first: dict[str, int] = {}  # of each map's (or memory's) arrays
        self._loaded()
        if self.layout.external:
            self._external()
        elif self.layout.streamed:
            self._streamed()

    # ---- which arrays there are ----------------------------------------------------------------

    def _array(self, part: str, space: Space, address: int, *shape: int) -> None:
        self._arrays.append((part, space, address, shape))

    @property
    def _row(self) -> int:
        """Link words of a row of all cores."""
        return self.c.cores * self.c.lanes // 4

    @property
    def _word(self) -> int:
        """Link words of a parameter word."""
        return self.c.vector_lanes // 2

    def _loaded(self) -> None:
        """What is loaded once: maps, where they are resident, and all small memories."""
        a = self.layout
        for name, m in a.maps.items():
            self._first[name] = len(self._arrays)
            if name in a.rows:
                words = a.shapes.matrix_rows(m) * self._row
                self._array("section", Space.ROW, a.rows[name] * self._row, words)
            if name in a.parameters:
                words = a.shapes.parameter_words(m) * self._word
                self._array("section", Space.PARAMETER, a.parameters[name] * self._word, words)
        program = blank(len(self.plan.program.instructions) * INSTRUCTION_LINK_WORDS)
        for space, words in self._small(program).items():
            self._first[space.name] = len(self._arrays)
            self._array("section", space, 0, words.size)

    def _streamed(self) -> None:
        """What the host sends: rows of each token, then parameters and rows of each tile."""
        e = self.layout.maps["embedding"]
        self._first["tokens"] = len(self._arrays)
        words = ceil(e.outputs, self.c.lanes) * self._row
        self._array("embedding", Space.ROW, 0, e.inputs, words)
        for name, m in self.layout.maps.items():
            if name == "embedding":
                continue
            self._first[name] = len(self._arrays)
            part = "head" if name == "head" else "body"
            for start in range(0, m.outputs, self.c.lanes):
                groups = ceil(min(self.c.lanes, m.outputs - start), self.c.vector_lanes)
                entries = groups * (3 if m.bias else 1)
                self._array(part, Space.PARAMETER, 0, entries * self._word)
                self._array(part, Space.ROW, 0, ceil(m.inputs, self.c.cores) * self._row)

    def _external(self) -> None:
        """What external memory holds: an array for each of its areas."""
        areas, at = self.layout.areas, 0
        for name, words in (("tokens", areas.embedding), ("body", areas.body),
                            ("head", areas.head)):  # fmt: skip
            self._first[name] = len(self._arrays)
            self._array("section", Space.EXTERNAL, at, words)
            at += words

    # ---- maps, as they come --------------------------------------------------------------------

    def embedding(self, m: Synapses) -> Iterator[Put]:
        """The arrays of the embedding."""
        self._maps["embedding"] = m.outline()
        if not self.layout.streamed:
            yield from self._resident("embedding", m)
            return
        yield self._first["embedding"], 0, parameter_words(m, self.c, 0, m.outputs)
        words_of = token_pieces if self.layout.external else token_rows
        step = max(1, CHUNK_WORDS * 4 // (m.outputs * self.c.cores))
        for start in range(0, m.inputs, step):
            rows = words_of(m.weight[:, start : start + step], self.c)
            yield self._first["tokens"], start * rows.shape[1], rows.reshape(-1)

    def layer(self, n: int, layer: Layer) -> Iterator[Put]:
        """The arrays of layer n."""
        self._check(layer_bound(layer))
        config = self.plan.model.config
        for name, m in layer_maps(layer, n, config.head_dim, self.layout.shapes).items():
            yield from self._map(name, m)

    def head(self, m: Synapses) -> Iterator[Put]:
        """The arrays of the head."""
        self._check(m.accumulator_bound)
        yield from self._map("head", m)

    def _check(self, bound: int) -> None:
        """Raises where the sums of a map are larger than was known and the accumulators are."""
        if bound <= self._bound:
            return
        a, plan, self._bound = self.layout, self.plan, bound
        a.needs["accumulator_bits"] = max(a.needs["accumulator_bits"], bound.bit_length() + 1)
        program = len(plan.program.instructions)
        short = missing(a, program)
        if short:
            raise unfit(plan.model, a, short, plan.wanted_context, bound, program)

    def _map(self, name: str, m: Synapses) -> Iterator[Put]:
        self._maps[name] = m.outline()
        a, c = self.layout, self.c
        if not a.streamed:
            yield from self._resident(name, m)
        elif a.external:
            piece = a.pieces[name]
            index, at = self._first["head" if name == "head" else "body"], piece.offset
            for words in map_parts(m, c, piece.last):
                yield index, at, words
                at += words.size
        else:
            index = self._first[name]
            for start in range(0, m.outputs, c.lanes):
                count = min(c.lanes, m.outputs - start)
                yield index, 0, parameter_words(m, c, start, count)
                yield index + 1, 0, row_words(tiles(m.weight[start : start + count], c))
                index += 2

    def _resident(self, name: str, m: Synapses) -> Iterator[Put]:
        yield self._first[name], 0, row_words(tiles(m.weight, self.c))
        yield self._first[name] + 1, 0, parameter_words(m, self.c, 0, m.outputs)

    # ---- the rest ------------------------------------------------------------------------------

    def _small(self, program: np.ndarray) -> dict[Space, np.ndarray]:
        """The small memories, of which only the program depends on the maps."""
        q, a = self.plan.model, self.layout
        t = q.tables
        small = {
            Space.ROTATION: rotation_words(q.cosine, q.sine, a.shapes, a.context),
            Space.PROGRAM: program,
            Space.SCHEDULE: self.plan.schedules.words,
            Space.EXP2: t.exp2_base | (t.exp2_slope & 0xFF) << 16,
            Space.SILU: t.silu_base & 0xFFFFFF | (t.silu_slope & 0xFF) << 24,
            Space.RSQRT: t.rsqrt,
            Space.RECIPROCAL: t.reciprocal,
        }
        return {space: np.asarray(words).astype(np.uint32) for space, words in small.items()}

    def constants(self) -> Iterator[Put]:
        """The arrays that are no map's: program, tables, rotations and schedules."""
        program = [
            word >> 32 * i & 0xFFFFFFFF
            for word in self.plan.program.words(self._maps)
            for i in range(INSTRUCTION_LINK_WORDS)
        ]
        for space, words in self._small(np.array(program, np.uint32)).items():
            yield self._first[space.name], 0, words

    def image(self, arrays: Sequence[np.ndarray] | None = None) -> Image:
        """The image of all arrays; None: blank ones, which say how large each is."""
        plan, a, m = self.plan, self.layout, self.plan.model.config
        if arrays is None:
            arrays = [blank(*shape) for *_, shape in self._arrays]
        parts: dict[str, list] = {"section": [], "embedding": [], "body": [], "head": []}
        for (part, space, address, _), words in zip(self._arrays, arrays, strict=True):
            parts[part].append((space, address, words))
        stream = None
        if parts["embedding"]:
            body, head = ([(space, words) for space, _, words in parts[part]]
                          for part in ("body", "head"))
            stream = Stream(parts["embedding"][0][2], body, head)
        model = dict(
            dim=m.dim, hidden=m.hidden, layers=m.layers, heads=m.heads, kv_heads=m.kv_heads,
            head_dim=m.head_dim, vocab=m.vocab, context=a.context, fraction=plan.model.fraction,
            weights=a.source, schedule=plan.schedule,
            instructions=len(plan.program.instructions), labels=plan.program.labels,
            needs=a.needs,
        )  # fmt: skip
        sections = [Section(*section) for section in parts["section"]]
        return Image(self.c.name, self.c.identity, model, plan.settings, sections, stream)
