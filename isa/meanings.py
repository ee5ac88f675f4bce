"""What the names of the contract mean, for docs/isa.md: number formats, spaces, enumerations."""

from isa import frames, instructions, packets, registers

FORMATS = {
    "VECTOR": "element of a vector: residual stream, heads, scores, products; the fraction bits "
              "belong to the model image",
    "CODE": "spike code: the sum of a neuron's signed spikes; also a weight, a key, a value",
    "POTENTIAL": "membrane potential and threshold of an EI-IF neuron",
    "GAIN": "mantissa of a gain or a scalar; 128..255 when normalised",
    "DROP": "right shift after a gain",
    "BIAS": "bias of an output",
    "EXPONENT": "exponent of a code vector, a scalar, a key or a value",
    "TRIGONOMETRIC": "cosine and sine of the rotary embedding",
    "PROBABILITY": "exp2 before the division by the sum",
}  # fmt: skip

SPACES = {
    "ROW": "synapse rows: row r of core c is entry r * G + c; lane 0 in the lowest byte",
    "PARAMETER": "gains and drops (8 and 8 bits) of V outputs, lane 0 in the lowest 16 bits; or "
                 "the lower or upper halves of V biases",
    "ROTATION": "for each pair of a head's elements: cosine (16 bits, signed), then sine",
    "PROGRAM": "instructions, low word first",
    "SCHEDULE": "steps of the firing schedule",
    "EXP2": "base (16 bits), slope (8 bits, signed) above it",
    "SILU": "base (24 bits, signed), slope (8 bits, signed) above it",
    "RSQRT": "mantissas",
    "RECIPROCAL": "mantissas",
    "VECTOR": "vector memory; elements sign-extended to a link word",
    "REGISTER": "settings, identity, counters",
    "EXTERNAL": "pieces of weights, see below; only where the device has external memory",
}  # fmt: skip

MEANINGS = {
    packets.Kind: {
        "WRITE": "payload to memory `space`, from link word `value` on",
        "READ": "no payload: `length` words wanted from link word `value` on; gives DATA",
        "STREAM": "payload to the ring of ROW or PARAMETER",
        "RUN": "payload: prompt tokens; `value`: tokens to generate; `flags`: see below",
        "STOP": "end the run after the present token",
        "DATA": "answer to READ",
        "TOKEN": "`value`: the argmax after a position; `flags`: the position, 16 bits",
        "LOGITS": "payload: the logits, sign-extended vector elements; `value`: how many",
        "DONE": "the run ended; `value`: the reason",
        "ERROR": "`value`: the fault; the rest of the packet was dropped",
    },
    packets.Fault: {
        "UNKNOWN_KIND": "a packet of a kind that the device does not take",
        "UNKNOWN_SPACE": "no such memory, or not one for this kind of packet",
        "RUN_BUSY": "RUN, READ of ROW, VECTOR or EXTERNAL, or WRITE of EXTERNAL, while a run "
                    "goes on",
        "PROMPT_TOO_LONG": "a prompt longer than the prompt memory (the context)",
    },
    registers.Stop: {
        "COUNT": "as many tokens as were asked for",
        "END_TOKEN": "the end token came out",
        "CONTEXT_FULL": "no position is left",
        "STOPPED": "the host sent STOP",
    },
    frames.FrameType: {
        "HELLO": "from the host: FRAME_VERSION, then a session number that is not 0",
        "WELCOME": "from the device: the words below",
        "LOST": "from the device: no session is open",
        "DATA": "words, 1 to MAXIMUM_WORDS",
        "ACK": "answer to DATA or POLL",
        "NAK": "the same, and words are missing before those that came; or a frame was damaged",
        "BUSY": "from the device: the same, and there was no room; NAK follows when there is some",
        "POLL": "from the host: answer at once",
    },
    instructions.Opcode: {
        "END": "the position is done",
        "HEAD": "what follows is skipped for prompt tokens but the last",
    },
}  # fmt: skip
