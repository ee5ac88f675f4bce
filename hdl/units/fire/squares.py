"""Sum of squares of what fires: RMSNorm's input, from the spikes."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out

from isa.configurations import Configuration
from isa.formats import CODE, EXPONENT

SQUARES_BITS = 32


def squares_layout() -> StructLayout:
    """Sum over a vector of code**2, and the codes' exponent."""
    return StructLayout({"sum": unsigned(SQUARES_BITS), "exponent": signed(EXPONENT.bits)})


def spikes_layout(c: Configuration) -> StructLayout:
    """A step's spikes and the codes of the neurons they come from."""
    return StructLayout(
        {
            "fired": unsigned(c.neuron_lanes),
            "negative": unsigned(c.neuron_lanes),
            "amplitude": unsigned(3),
            "codes": ArrayLayout(signed(CODE.bits), c.neuron_lanes),
            "exponent": signed(EXPONENT.bits),
            "end": unsigned(1),  # of the tile
        }
    )


class SumOfSquares(wiring.Component):
    """The sum of sign * (code << amplitude) over all spikes of a tile, modulo 2**32.

    One step a cycle where `valid`; the sum is offered `latency` cycles after the tile's last step.
    Nothing may come of a further tile before the sum is taken.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        levels = (c.neuron_lanes - 1).bit_length()
        self.latency = levels + 3
        super().__init__(
            {
                "valid": In(1),
                "spikes": In(spikes_layout(c)),
                "squares": Out(stream.Signature(squares_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spikes = self.spikes
        control = StructLayout(
            {"valid": 1, "end": 1, "amplitude": 3, "exponent": signed(EXPONENT.bits)}
        )
        stages = [Signal(control, name=f"stage_{k}") for k in range(self.latency - 1)]
        m.d.sync += [
            stages[0].valid.eq(self.valid),
            stages[0].end.eq(spikes.end),
            stages[0].amplitude.eq(spikes.amplitude),
            stages[0].exponent.eq(spikes.exponent),
        ]
        m.d.sync += [b.eq(a) for a, b in zip(stages, stages[1:], strict=False)]

        # A tree with a register behind every adder. Synthesis makes one sum of all terms out of
        # look-up tables instead of carry cells.
        terms = [Signal(signed(CODE.bits), name=f"term_{k}", reset_less=True)
                 for k in range(self.c.neuron_lanes)]  # fmt: skip
        for lane, term in enumerate(terms):
            code = spikes.codes[lane]
            signed_code = Mux(spikes.negative[lane], -code, code)
            m.d.sync += term.eq(Mux(spikes.fired[lane], signed_code, 0))
        level = 0
        while len(terms) > 1:
            level += 1
            pairs = [Signal(signed(CODE.bits + level), name=f"sum_{level}_{k}", reset_less=True)
                     for k in range(len(terms) // 2)]  # fmt: skip
            m.d.sync += [p.eq(terms[2 * k] + terms[2 * k + 1]) for k, p in enumerate(pairs)]
            terms = pairs

        last = stages[-1]
        shifted = Signal(signed(len(terms[0]) + (1 << len(last.amplitude)) - 1), reset_less=True)
        m.d.sync += shifted.eq(terms[0] << stages[-2].amplitude)
        total = Signal(SQUARES_BITS)
        fresh = Signal(init=1)  # nothing of this tile is in total
        following = Signal(SQUARES_BITS)
        m.d.comb += following.eq(Mux(fresh, 0, total) + shifted)
        with m.If(last.valid):
            m.d.sync += [total.eq(following), fresh.eq(last.end)]
        with m.If(last.valid & last.end):
            m.d.sync += [
                self.squares.valid.eq(1),
                self.squares.payload.sum.eq(following),
                self.squares.payload.exponent.eq(last.exponent),
            ]
        with m.Elif(self.squares.ready):
            m.d.sync += self.squares.valid.eq(0)
        return m
