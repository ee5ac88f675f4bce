"""What the post unit's arithmetic takes beside the sums: gains, biases, shifts, residuals."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.pipeline import Pipeline, delayed
from hdl.lib.queues import QueueMemory
from hdl.lib.shapes import exponents_layout, parameter_layout, read_port, shared_read, word_layout
from hdl.units.post.arithmetic import SHIFT_BITS
from hdl.units.post.contexts import context_layout
from hdl.units.post.issue import issue_layout
from hdl.units.post.stages import EXPONENT_READ, STAGES
from hdl.units.post.supply import ADDRESS_BITS
from isa.configurations import Configuration
from isa.formats import GAIN, VECTOR

_BIAS_WORDS = 2  # behind a word of gains


class ParameterOperands(Component):
    """Gains, drops and biases: from the instruction, or from parameter memory.

    `word` is the word's description at the stage `described`; parameter_address goes with the stage
    `asked`. `gains` come at the stage `parameters` (gain, and drop above it), `bias` at `scaled`:
    it is read in the two cycles behind its word's gains and waits until then.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "word": In(issue_layout()),
                "parameter_address": In(ADDRESS_BITS),
                "parameters": Out(read_port(ADDRESS_BITS, parameter_layout(c))),
                "gains": Out(parameter_layout(c)),
                "bias": Out(word_layout(c)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, STAGES)
        # Registers on both sides of the memory: it is far.
        address = pipeline.carry(self.parameter_address, "asked", name="address")
        m.d.comb += self.parameters.address.eq(address["asked", 1])
        data = pipeline.carry(self.parameters.data, "asked", after=2, name="data")["parameters"]

        word = {
            name: pipeline.carry(self.word[name], "described", name=name, reset=reset)
            for name, reset in (("valid", True), ("use_parameters", False), ("use_bias", True),
                                ("gain", False), ("drop", False))
        }  # fmt: skip
        same = Cat(word["gain"]["parameters"], word["drop"]["parameters"])
        for lane, gain in enumerate(self.gains):
            m.d.comb += gain.eq(Mux(word["use_parameters"]["parameters"], data[lane], same))

        m.submodules.biases = biases = QueueMemory(word_layout(self.c))
        complete, taken = ("parameters", _BIAS_WORDS), ("scaled", -1)
        low = delayed(m, data)
        m.d.comb += [
            biases.push.eq(word["valid"][complete] & word["use_bias"][complete]),
            biases.pop.eq(word["valid"][taken] & word["use_bias"][taken]),
        ]
        for lane, bias in enumerate(self.bias):
            high = data[lane][: VECTOR.bits - len(low[lane])]
            kept = pipeline.carry(Mux(word["use_bias"][taken], biases.oldest[lane], 0), taken,
                                  name="bias", shape=bias.shape())  # fmt: skip
            m.d.comb += [biases.word[lane].eq(Cat(low[lane], high)), bias.eq(kept["scaled"])]
        return m


class ScaleOperands(Component):
    """Mantissa and shift of a word, and the exponents of its lanes where they are keys.

    `word` is the word's description at the stage `described`, exponent_address the instruction's,
    while it is there. What comes out is for the stage `gained`, the mantissa a cycle before it.
    `exponents` answers EXPONENT_READ cycles after the address.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "word": In(issue_layout()),
                "exponent_address": In(ADDRESS_BITS),
                "exponents": Out(read_port(ADDRESS_BITS, exponents_layout(c))),
                "mantissa": Out(GAIN.bits),
                "shift": Out(signed(SHIFT_BITS)),
                "key_exponents": Out(exponents_layout(c)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline, word = Pipeline(m, STAGES), self.word
        mantissa = pipeline.carry(word.mantissa, "described", name="mantissa")
        shift = pipeline.carry(word.shift - word.exponent - word.scale_exponent, "described",
                               name="shift", shape=signed(SHIFT_BITS))  # fmt: skip

        address = Signal(ADDRESS_BITS)
        with m.If(word.valid):
            m.d.sync += address.eq(Mux(word.first, self.exponent_address, address + 1))
        arrives = ("gained", -1)
        asked = ("gained", -1 - EXPONENT_READ)
        wanted = pipeline.carry(word.key_exponents, "described", name="key_exponents")[arrives]
        for exponent, data in zip(self.key_exponents, self.exponents.data, strict=True):
            kept = pipeline.carry(Mux(wanted, data, 0), arrives, name="exponent",
                                  shape=exponent.shape())  # fmt: skip
            m.d.comb += exponent.eq(kept["gained"])
        address = pipeline.carry(address, "described", after=1)
        m.d.comb += [
            self.exponents.address.eq(address[asked]),
            self.mantissa.eq(mantissa["gained", -1]),
            self.shift.eq(shift["gained"]),
        ]
        return m


class ResidualOperands(Component):
    """A word of vector memory for each word of an instruction with a residual, for `biased`.

    valid and first (word of its instruction) come at stages.RESIDUAL_DECIDED, with `ahead`, the
    context of the instruction that begins next; `present` is that of the word whose data comes.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "ahead": In(context_layout(c)),
                "present": In(context_layout(c)),
                "memory": Out(shared_read(16, word_layout(c))),
                "residual": Out(word_layout(c)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline, memory = Pipeline(m, STAGES), self.memory
        wanted, use = Signal(), Signal()
        m.d.comb += use.eq(Mux(self.first, self.ahead.use_residual, wanted))
        m.d.sync += memory.request.eq(self.valid & use)
        with m.If(self.valid):
            m.d.sync += [
                wanted.eq(use),
                memory.address.eq(Mux(self.first, self.ahead.residual, memory.address + 1)),
            ]
        for residual, data in zip(self.residual, memory.data, strict=True):
            kept = pipeline.carry(Mux(self.present.use_residual, data, 0), ("biased", -1),
                                  name="residual", shape=residual.shape())  # fmt: skip
            m.d.comb += residual.eq(kept["biased"])
        return m
