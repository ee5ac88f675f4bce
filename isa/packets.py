"""The link protocol, in 32-bit words, both ways: a three-word header, then the payload.

word 0: kind (8 bits), space (8), flags (16);  word 1: value;  word 2: payload words.
"""

from enum import IntEnum, IntFlag

from isa.record import Field, Record

HEADER = Record(
    "header",
    "Every packet begins with these three words.",
    (
        Field("kind", 8, "what the packet is"),
        Field("space", 8, "which memory"),
        Field("flags", 16, "see RunFlag"),
        Field("value", 32, "address, count, token or reason"),
        Field("length", 32, "payload words that follow"),
    ),
)
HEADER_WORDS = HEADER.bits // 32


class Kind(IntEnum):
    """Host to device below 0x80, device to host from 0x80."""

    WRITE = 0x01  # payload to memory `space` from link word `value` on
    READ = 0x02  # no payload after it: `length` words wanted, from link word `value`; gives DATA
    STREAM = 0x03  # payload to the ring of ROW or PARAMETER
    RUN = 0x04  # payload: prompt tokens; value: tokens to generate
    STOP = 0x05  # end the run after the present token
    DATA = 0x81  # answer to READ
    TOKEN = 0x82  # value: the argmax after a position; flags: low 16 bits of the position
    LOGITS = 0x83  # payload: the logits, sign-extended; value: how many
    DONE = 0x84  # the run ended; value: isa.registers.Stop
    ERROR = 0x85  # value: isa.packets.Fault; the rest of the packet was dropped


class RunFlag(IntFlag):
    RESET = 1  # forget the context: position 0
    LOGITS = 2  # send logits of every token generated (POST instructions with to_host)


class Space(IntEnum):
    """Memories. Address unit: one 32-bit link word; `value` of an entry = index * words an entry.

    ROW: row r of core c is entry r * G + c, P / 4 words, lane 0 in the lowest byte.
    PARAMETER: V / 2 words, lane 0 in the lowest 16 bits: gain (8), drop (8); or half of a bias.
    ROTATION: V / 2 words: for each pair, cosine (16 bits, signed) then sine.
    PROGRAM: 8 words, low first, the last two 0. VECTOR: V words, sign-extended, READ only.
    EXTERNAL: one word (isa/external.py), where there is such a memory. The others: one word each.
    READ works on REGISTER, and while no run goes on on ROW, VECTOR and EXTERNAL. WRITE of EXTERNAL
    works while no run goes on.
    """

    ROW = 0
    PARAMETER = 1
    ROTATION = 2
    PROGRAM = 3
    SCHEDULE = 4
    EXP2 = 5  # base (16 bits), slope (8 bits signed) above it
    SILU = 6  # base (24 bits signed), slope (8 bits signed) above it
    RSQRT = 7
    RECIPROCAL = 8
    VECTOR = 9
    REGISTER = 10
    EXTERNAL = 11


class Fault(IntEnum):
    UNKNOWN_KIND = 1
    UNKNOWN_SPACE = 2  # or one that this kind of packet does not work on
    RUN_BUSY = 3  # RUN, READ of ROW, VECTOR or EXTERNAL, or WRITE of EXTERNAL, while one goes on
    PROMPT_TOO_LONG = 4  # longer than the prompt memory (the context)
