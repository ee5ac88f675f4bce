"""The instruction set: 192-bit words that the sequencer hands to three units.

FIRE    the neuron core encodes a vector, fires it, and the synapse cores gather its rows
POST    the post unit drains the gathered tiles and writes a vector (or logits, or an argmax)
VECTOR  the vector unit rotates, stores keys and values, does softmax or gate, SiLU, modulation

The sequencer dispatches in program order; each unit runs its own instructions in order. An
instruction starts when the other two units have completed as many instructions of this token as
its wait fields say. FIRE and POST meet tile by tile: the n-th FIRE's tiles go to the n-th POST.
"""

from enum import IntEnum

from isa.record import Field, Record

INSTRUCTION_BITS = 192
INSTRUCTION_LINK_WORDS = 8  # link words an instruction takes; the last two are not stored


class Opcode(IntEnum):
    END = 0  # the token is done
    FIRE = 1
    POST = 2
    VECTOR = 3
    HEAD = 4  # what follows is skipped for prompt tokens whose logits nobody needs


class Scale(IntEnum):
    UNITY = 0  # mantissa 128, exponent 0: the constant shift carries 7 more bits
    NORM = 1  # 1/rms from the FIRE instruction of the same tiles
    SCALAR = 2  # a scalar register, written by SOFTMAX and GATE


class Operation(IntEnum):
    ROTATE = 0
    STORE_KEY = 1
    STORE_VALUE = 2
    SOFTMAX = 3
    SILU = 4
    MODULATE = 5
    GATE = 6


_OPCODE = Field("opcode", 4, "which unit")


def _wait(unit: str) -> Field:
    return Field(f"wait_{unit}", 12, f"start when the {unit} unit has completed this many")


FIRE = Record(
    "FIRE",
    "Encode `count` elements at `source` with the exponent of a magnitude register and gather "
    "`outputs` sums, in tiles of P lanes. Neuron i fires into core i mod G; the row of tile t is "
    "row_base + t * tile_stride + i div G.",
    (
        _OPCODE,
        _wait("post"),
        _wait("vector"),
        Field("source", 16, "vector memory word of the first neuron"),
        Field("magnitude", 8, "magnitude register that gives the exponent"),
        Field("count", 18, "neurons"),
        Field("dynamic_count", 1, "count is position + 1"),
        Field("one_hot", 1, "neuron `token` fires once with amplitude 1, instead of a vector "
                            "(neuron 0 when the rows are streamed)"),
        Field("norm", 1, "sum the codes' squares and give 1/rms to POST"),
        Field("stream", 1, "rows come from the row ring, which the host link fills"),
        Field("row_base", 20, "first row (not used with stream)"),
        Field("tile_stride", 16, "rows from one tile to the next; with stream: rows of a tile"),
        Field("outputs", 18, "sums wanted; tiles = ceil(outputs / P)"),
        Field("dynamic_outputs", 1, "outputs is position + 1"),
        Field("first_step", 7, "schedule memory entry where the neurons' schedule begins"),
    ),
)  # fmt: skip

POST = Record(
    "POST",
    "Drain `count` sums of the tiles that the matching FIRE gathers, apply gain, scale, bias and "
    "residual (golden/units/post.py) and write them.",
    (
        _OPCODE,
        _wait("fire"),
        _wait("vector"),
        Field("count", 18, "elements"),
        Field("dynamic_count", 1, "count is position + 1"),
        Field("lane_offset", 8, "first word of V lanes to read in every tile"),
        Field("parameters", 18, "parameter memory word of the first output"),
        Field("use_parameters", 1, "each output has its own gain and drop in parameter memory"),
        Field("use_bias", 1, "three parameter words for V outputs: gains, bias low, bias high"),
        Field("stream", 1, "parameters come from the parameter ring"),
        Field("gain", 8, "gain of every output without parameters"),
        Field("drop", 6, "drop of every output without parameters"),
        Field("scale", 2, "0 unity, 1 norm, 2 scalar register"),
        Field("scalar", 6, "scalar register"),
        Field("shift", 10, "constant part of the shift", signed=True),
        Field("use_exponent", 1, "subtract the fired vector's exponent from the shift"),
        Field("key_exponents", 1, "subtract each element's key exponent from the shift"),
        Field("exponent_address", 18, "key exponent memory word of element 0"),
        Field("to_vector", 1, "write to vector memory"),
        Field("to_host", 1, "send to the host as logits"),
        Field("argmax", 1, "track the largest element's index: the next token"),
        Field("use_residual", 1, "add the vector at `residual`"),
        Field("use_maximum", 1, "write the largest element to a maximum register"),
        Field("destination", 16, "vector memory word of element 0"),
        Field("residual", 16, "vector memory word of the residual's element 0"),
        Field("magnitude", 8, "with to_vector: magnitude register of the first segment"),
        Field("segment", 8, "words of V elements a magnitude register; 0: one for all"),
        Field("maximum", 4, "maximum register"),
        Field("join_magnitude", 1, "OR into the magnitude register instead of replacing it"),
    ),
)

VECTOR = Record(
    "VECTOR",
    "One operation over words of V elements (golden/units/attention.py, functions.py).",
    (
        _OPCODE,
        _wait("fire"),
        _wait("post"),
        Field("operation", 4, ", ".join(f"{o.value} {o.name.lower().replace('_', ' ')}"
                                        for o in Operation)),
        Field("source", 16, "vector memory word: the vector; modulate: the driver that fires"),
        Field("operand", 16, "modulate: the operand; store value: first lane word in the row"),
        Field("destination", 16, "vector memory word"),
        Field("count", 12, "words of V elements (not used by softmax and gate: position + "
                           "1 elements)"),
        Field("magnitude_in", 8, "magnitude register of the first segment of the source"),
        Field("magnitude_out", 8, "magnitude register of the first segment written"),
        Field("segment", 8, "words a magnitude register (a head); 0: one for all"),
        Field("maximum", 4, "softmax: maximum register of the scores"),
        Field("scalar", 6, "softmax, gate: scalar register that gets 1/sum"),
        Field("exponent_address", 18, "exponent memory word (key or value) of the first head"),
        Field("row_base", 20, "store: first row of layer and head 0"),
        Field("row_stride", 16, "store value: rows from one row of lanes to the next"),
        Field("alignment", 8, "store value, softmax, gate: alignment register of the first "
                             "head"),
    ),
)  # fmt: skip

CONTROL = Record("CONTROL", "END and HEAD: no operands.", (_OPCODE,))

RECORDS = {
    Opcode.END: CONTROL,
    Opcode.FIRE: FIRE,
    Opcode.POST: POST,
    Opcode.VECTOR: VECTOR,
    Opcode.HEAD: CONTROL,
}

for _record in RECORDS.values():
    assert _record.bits <= INSTRUCTION_BITS, (_record.name, _record.bits)
