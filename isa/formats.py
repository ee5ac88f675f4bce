"""Number formats, declared once: widths, fraction bits and ranges that hdl and golden both use.

Every quantity is a two's complement integer. A vector element of value x is stored as
round(x * 2**fraction); the fraction is a property of the model image, the widths below are not.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class IntegerFormat:
    """A symmetric signed (or plain unsigned) integer of `bits` bits."""

    bits: int
    signed: bool = True

    @property
    def maximum(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def minimum(self) -> int:
        return -self.maximum if self.signed else 0


VECTOR = IntegerFormat(24)  # elements of vector memory: residual stream, heads, scores, products
CODE = IntegerFormat(8)  # quantised activation: what a neuron's signed spikes sum up to, -127..127
POTENTIAL = IntegerFormat(16)  # membrane potential and threshold of an EI-IF neuron
GAIN = IntegerFormat(8, signed=False)  # requantisation scale, or a scalar's mantissa: 128..255
DROP = IntegerFormat(6, signed=False)  # requantisation shift: to the right, behind a gain
BIAS = VECTOR
EXPONENT = IntegerFormat(8)  # shared by a vector's codes; also of a scalar, of a key or value
TRIGONOMETRIC = IntegerFormat(12)  # cosine and sine of the rotary embedding
PROBABILITY = IntegerFormat(24, signed=False)  # exp2 output before normalisation

CODE_PHASES = CODE.bits  # steps of the phase schedule
ARRIVED_MAXIMUM = 1 << (CODE_PHASES - 1)  # |sum of a code's spikes|; 127 but for raised thresholds
TRIGONOMETRIC_FRACTION = 10
SCORE_FRACTION = 8  # attention scores are in units of log2, with these fraction bits
GATE_FRACTION = 12  # attention without softmax: scores as they are, with these fraction bits
EXP2_FRACTION = 15  # exp2 gives 2**15 for 1.0
EXP2_CLAMP = 31 << SCORE_FRACTION  # 2**-31 and everything below it is 0 after rounding
MEAN_SQUARE_FRACTION = 4  # rsqrt sees the mean square with these fraction bits
UNITY_MANTISSA = 128  # the scalar one, with UNITY_SHIFT more bits of right shift
UNITY_SHIFT = 7
MAXIMUM_LEFT_SHIFT = 24  # any non-zero value shifted further than this saturates anyway

# Function neurons: tables of activation functions, fitted in golden and carried by the image.
EXP2_PIECES = 32  # on [0, 1): base (16 bits), slope (8 bits signed, per 2**-8, 7 fraction bits)
SILU_PIECES = 64  # on [-8, 8): base (24 bits), slope (8 bits signed, 6 fraction bits)
SILU_FRACTION = 12  # fraction bits of the SiLU table's argument and value
SILU_SLOPE_FRACTION = 6
RSQRT_ENTRIES = 256  # addressed by the top 8 bits at an even exponent; 0..63 never occur
RECIPROCAL_ENTRIES = 128  # addressed by the top 8 bits less the leading one
SCHEDULE_STEPS = 128  # the paper's unary setting takes 127 steps
