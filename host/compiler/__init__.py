"""The compiler: a quantised model becomes the image and program of one device configuration."""

import numpy as np

from golden.model.quantise import QuantisedModel, Synapses
from host.compiler.layout import Layout, choose, missing, unfit
from host.compiler.program import Placed, Program, build
from host.compiler.schedules import Schedules, place_schedules
from host.compiler.weights import (
    pad_inputs,
    pad_outputs,
    parameter_words,
    rotation_words,
    row_words,
    rows_of,
    tiles,
)
from isa.configurations import Configuration
from isa.errors import SpikeletError
from isa.image import Image, Section, Stream
from isa.instructions import INSTRUCTION_LINK_WORDS
from isa.packets import Space


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
        weights: "resident" puts all weights into row memory, "streamed" has the host send them.
        schedule: "phase", the model's own schedules (phases with each population's thresholds),
            or "unary" for all populations (isa/schedule.py).
        context: positions to make room for; by default as many as fit, at most the model's.
        end_token: generation stops at this token.

    Raises:
        SpikeletError: the configuration is too small; the text says what is missing.
    """
    if weights not in ("resident", "streamed"):
        raise SpikeletError(f"weights are 'resident' or 'streamed', not '{weights}'")
    schedules = place_schedules(q, schedule)
    layout = choose(q, c, weights == "streamed", context)
    maps = _maps(q, layout)
    placed = _place(maps, layout)
    program = build(q, layout, placed, schedules.first_step)
    short = missing(layout, len(program.words))
    if short:
        layout.needs["program_depth"] = len(program.words)
        raise unfit(q, layout, short, context)
    sections = _sections(q, layout, placed, program, schedules)
    stream = _stream(maps, layout) if layout.streamed else None
    m = q.config
    model = dict(
        dim=m.dim, hidden=m.hidden, layers=m.layers, heads=m.heads, kv_heads=m.kv_heads,
        head_dim=m.head_dim, vocab=m.vocab, context=layout.context, fraction=q.fraction,
        weights=weights, schedule=schedule, instructions=len(program.words),
        labels=program.labels, needs=layout.needs,
    )  # fmt: skip
    settings = _settings(q, layout, end_token) | schedules.settings
    return Image(c.name, c.identity, model, settings, sections, stream)


def _maps(q: QuantisedModel, a: Layout) -> dict[str, Synapses]:
    """Every linear map by name, in order of use, with heads padded."""
    s, size = a.shapes, q.config.head_dim
    maps = {"embedding": q.embedding}
    for n, layer in enumerate(q.layers):
        name = f"layers.{n}."
        qkv = pad_outputs(layer.qkv, s.heads + 2 * s.kv_heads, size, s.head)
        query = s.heads * s.head
        # Keys and values first: they are stored while the queries gather.
        maps[name + "key_value"] = rows_of(qkv, query, qkv.outputs)
        maps[name + "query"] = rows_of(qkv, 0, query)
        maps[name + "out"] = pad_inputs(layer.out, s.heads, size, s.head)
        maps[name + "gate"], maps[name + "up"] = layer.gate, layer.up
        maps[name + "down"] = layer.down
    maps["head"] = q.head
    return maps


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


def _sections(
    q: QuantisedModel, a: Layout, placed: dict[str, Placed], program: Program, schedules: Schedules
) -> list[Section]:
    c, t = a.shapes.c, q.tables
    sections = []
    for p in placed.values():
        m = p.synapses
        if p.row is not None:
            words = row_words(tiles(m.weight, c))
            sections.append(Section(Space.ROW, p.row * c.cores * c.lanes // 4, words))
        if p.parameter is not None:
            words = parameter_words(m, c, 0, m.outputs).reshape(-1).view(np.uint32)
            sections.append(Section(Space.PARAMETER, p.parameter * c.vector_lanes // 2, words))
    instructions = [
        word >> 32 * i & 0xFFFFFFFF for word in program.words for i in range(INSTRUCTION_LINK_WORDS)
    ]
    exp2 = t.exp2_base | (t.exp2_slope & 0xFF) << 16
    silu = t.silu_base & 0xFFFFFF | (t.silu_slope & 0xFF) << 24
    small = {
        Space.ROTATION: rotation_words(q.cosine, q.sine, a.shapes, a.context),
        Space.PROGRAM: instructions,
        Space.SCHEDULE: schedules.words,
        Space.EXP2: exp2,
        Space.SILU: silu,
        Space.RSQRT: t.rsqrt,
        Space.RECIPROCAL: t.reciprocal,
    }
    for space, words in small.items():
        sections.append(Section(space, 0, np.asarray(words).astype(np.uint32)))
    return sections


def _stream(maps: dict[str, Synapses], a: Layout) -> Stream:
    c = a.shapes.c
    body, head = [], []
    for name, m in maps.items():
        if name == "embedding":
            embedding = _embedding_rows(m, c)
            continue
        for n, rows in enumerate(tiles(m.weight, c)):
            count = min(c.lanes, m.outputs - n * c.lanes)
            parameters = parameter_words(m, c, n * c.lanes, count).reshape(-1).view(np.uint32)
            part = head if name == "head" else body
            part += [(Space.PARAMETER, parameters), (Space.ROW, row_words(rows))]
    return Stream(embedding, body, head)


def _embedding_rows(m: Synapses, c: Configuration) -> np.ndarray:
    """(vocab, words): for every token one row a tile, its weights in core 0."""
    count = -(-m.outputs // c.lanes)
    rows = np.zeros((m.inputs, count, c.cores, c.lanes), dtype=np.int8)
    padded = np.zeros((m.inputs, count * c.lanes), dtype=np.int8)
    padded[:, : m.outputs] = m.weight.T
    rows[:, :, 0] = padded.reshape(m.inputs, count, c.lanes)
    return rows.reshape(m.inputs, -1).view(np.uint32)


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
    return settings
