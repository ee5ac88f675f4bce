"""Registers: configuration of the model that runs, the device's identity, and its counters.

All are 32 bits and live in the REGISTER space of the link, one word each.
"""

from dataclasses import dataclass
from enum import IntEnum

from isa.formats import CODE

CONTRACT_VERSION = 3  # raised whenever instructions, packets, formats or the image change
IDENTITY_MAGIC = 0x53504B4C  # "SPKL"


@dataclass(frozen=True)
class Register:
    name: str
    address: int
    bits: int
    description: str
    signed: bool = False


def _numbered(start: int, *rows: tuple) -> tuple[Register, ...]:
    return tuple(Register(r[0], start + i, *r[1:]) for i, r in enumerate(rows))


SETTINGS = _numbered(
    0x00,
    ("silu_widen", 4, "12 less the vector fraction: left shift of SiLU's argument"),
    ("product_shift", 6, "the vector fraction: right shift of the elementwise gate's products"),
    ("mean_mantissa", 8, "RMSNorm: 2**4 / dimension, mantissa"),
    ("mean_shift", 6, "RMSNorm: its right shift"),
    ("epsilon_mantissa", 8, "RMSNorm: epsilon at exponent 0, mantissa"),
    ("epsilon_shift", 8, "RMSNorm: its right shift", True),
    ("rotation_stride", 8, "rotation memory words a position (head size / V)"),
    ("exponent_stride", 16, "exponent memory words a head (context / V)"),
    ("key_stride", 16, "rows of a layer's keys for P positions (keys a position / G)"),
    ("row_ring_base", 20, "first row of the row ring; a multiple of its size"),
    ("row_ring_mask", 20, "rows in the row ring less one; its size is a power of two"),
    ("parameter_ring_base", 18, "first word of the parameter ring"),
    ("parameter_ring_mask", 18, "words in the parameter ring less one"),
    ("context", 16, "positions that the model image has room for"),
    ("end_token", 18, "generation stops when this token comes out"),
    ("end_token_enable", 1, "1: stop at end_token"),
    ("skip_silent", 1, "schedule: skip silent groups and stop at zero potentials"),
    *((f"start_{b}", 7, f"schedule: first step of a group whose codes have {b} bits, counted from "
                        "the first_step of FIRE")
      for b in range(CODE.bits)),
    ("external_enable", 1, "1: weights come from external memory"),
    ("external_embedding", 26, "external memory word where token 0's piece begins"),
    ("external_embedding_words", 26, "words of a token's piece; the next token's follows it"),
    ("external_body", 26, "external memory word where the body begins"),
    ("external_body_words", 26, "words of the body"),
    ("external_head", 26, "external memory word where the head begins"),
    ("external_head_words", 26, "words of the head"),
)  # fmt: skip
EXTERNAL_SETTINGS = frozenset(r.name for r in SETTINGS if r.name.startswith("external_"))
"""Settings that read 0, whatever is written, where the device has no external memory."""

IDENTITY = _numbered(
    0x40,
    ("magic", 32, "0x53504B4C, 'SPKL'"),
    ("contract", 32, "version of this contract"),
    ("configuration", 32, "CRC-32 of the configuration's canonical text"),
    ("image", 32, "CRC-32 of the model image in the memories since power-on; 0: none, or a memory "
                  "was written since"),
)

COUNTERS = _numbered(
    0x80,
    ("cycles", 32, "clock cycles while a token runs"),
    ("tokens", 32, "positions run"),
    ("neurons", 32, "neurons fired: elements encoded by FIRE, each counted once"),
    ("spikes", 32, "their spikes: counted in the first tile of each FIRE"),
    ("events", 32, "address events gathered, all cores: rows read"),
    ("synaptic_operations", 32, "additions of weights: events times the tile's outputs"),
    ("gather_cycles", 32, "cycles in which a FIRE instruction is being executed"),
    ("rows_streamed", 32, "rows that arrived for the row ring"),
    ("saturations", 32, "results that were clipped, all units"),
    ("fire_wait_cycles", 32, "FIRE at the head of its queue waits for another unit"),
    ("fire_stream_cycles", 32, "FIRE waits for streamed rows"),
    ("router_stall_cycles", 32, "the neuron core waits for the router"),
    ("post_wait_cycles", 32, "POST waits for another unit or for a gathered tile"),
    ("post_stream_cycles", 32, "POST waits for streamed parameters"),
    ("vector_wait_cycles", 32, "VECTOR at the head of its queue waits for another unit"),
    ("link_stall_cycles", 32, "POST waits for the host to take logits"),
    ("external_words_read", 32, "words of external memory that were played, headers included"),
    ("external_full_cycles", 32, "a word of external memory waits for room in its ring"),
)

REGISTERS = {r.name: r for r in (*SETTINGS, *IDENTITY, *COUNTERS)}


class Stop(IntEnum):
    """Why a run ended (value of the DONE packet)."""

    COUNT = 0  # as many tokens as were asked for
    END_TOKEN = 1
    CONTEXT_FULL = 2
    STOPPED = 3  # the host sent STOP
