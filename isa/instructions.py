"""The instruction set: 192-bit words that the sequencer hands to three units.

FIRE    a linear map: the neuron core encodes a vector as spikes, and for each spike the synapse
cores add a row of weights, P sums (a tile) at a time
POST    its epilogue: the post unit requantises the sums of each tile, adds bias and residual, and
writes a vector, logits or the next token
VECTOR  all else: the vector unit does the rotary embedding, fills the key/value cache, turns scores
into attention's weights, and does SiLU and the elementwise gate

The sequencer dispatches in program order. Each unit runs its own instructions in order, at the same
time as the other two. An instruction starts when each of the others has completed as many
instructions of this token as its wait fields say. A POST needs no wait for its own FIRE: they meet
tile by tile, and the n-th FIRE's tiles go to the n-th POST.
"""

from enum import IntEnum

from isa.record import Field, Record

INSTRUCTION_BITS = 192
INSTRUCTION_LINK_WORDS = 8  # link words an instruction takes; the last two are not stored


class Opcode(IntEnum):
    END = 0  # the position is done
    FIRE = 1
    POST = 2
    VECTOR = 3
    HEAD = 4  # what follows is skipped for prompt tokens but the last: nobody needs their logits


class Scale(IntEnum):
    """The scalar that POST multiplies all elements by."""

    UNITY = 0  # one: mantissa 128, exponent 0; `shift` makes up for the mantissa's 7 bits
    NORM = 1  # RMSNorm's 1/rms, from the FIRE instruction of the same tiles
    SCALAR = 2  # a scalar register, which SOFTMAX and GATE write


class Operation(IntEnum):
    """What a VECTOR instruction does; isa/effects.py says what each reads and writes."""

    ROTATE = 0  # rotary embedding
    STORE_KEY = 1  # keys into the key/value cache
    STORE_VALUE = 2  # values into the key/value cache
    SOFTMAX = 3  # scores become attention's weights
    SILU = 4
    MODULATE = 5  # elementwise gate: the product of two vectors
    GATE = 6  # scores become attention's weights without softmax


_OPCODE = Field("opcode", 4, "which unit")


def _wait(unit: str) -> Field:
    return Field(f"wait_{unit}", 12, f"start when the {unit} unit has completed this many")


FIRE = Record(
    "FIRE",
    "Encode `count` elements at `source` as spikes, with the exponent that a magnitude register "
    "gives, and gather `outputs` sums, in tiles of P lanes. Neuron i fires into core i mod G; the "
    "row of tile t is row_base + t * tile_stride + i div G.",
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
        Field("norm", 1, "RMSNorm: sum the codes' squares and give 1/rms to POST"),
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
    "The epilogue of the matching FIRE: drain `count` sums of its tiles, requantise them by gain "
    "and drop, multiply by a scalar, add bias and residual (golden/units/post.py), write them.",
    (
        _OPCODE,
        _wait("fire"),
        _wait("vector"),
        Field("count", 18, "elements"),
        Field("dynamic_count", 1, "count is position + 1"),
        Field("lane_offset", 8, "words of V lanes to skip at the beginning of every tile"),
        Field("parameters", 18, "parameter memory word of the first output"),
        Field("use_parameters", 1, "each output has its own gain and drop in parameter memory"),
        Field("use_bias", 1, "three parameter words for V outputs: gains, bias low, bias high"),
        Field("stream", 1, "parameters come from the parameter ring"),
        Field("gain", 8, "without parameters: gain (requantisation scale) of every output"),
        Field("drop", 6, "without parameters: drop (requantisation shift) of every output"),
        Field("scale", 2, "0 unity, 1 norm, 2 scalar register"),
        Field("scalar", 6, "scalar register"),
        Field("shift", 10, "constant part of the right shift behind the scalar", signed=True),
        Field("use_exponent", 1, "subtract the fired vector's exponent from the shift"),
        Field("key_exponents", 1, "scores: subtract each position's key exponent from the shift"),
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
        Field("join_magnitude", 1, "OR into the register: several POSTs write one vector"),
    ),
)

VECTOR = Record(
    "VECTOR",
    "One elementwise operation over words of V elements (golden/units/attention.py, functions.py).",
    (
        _OPCODE,
        _wait("fire"),
        _wait("post"),
        Field("operation", 4, ", ".join(f"{o.value} {o.name.lower().replace('_', ' ')}"
                                        for o in Operation)),
        Field("source", 16, "vector memory word: the vector; modulate: the one that is encoded "
                            "as spikes"),
        Field("operand", 16, "modulate: vector memory word of the other vector; store value: "
                             "first word of V lanes in the row"),
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
