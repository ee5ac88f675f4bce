"""The vector unit's lanes: one multiplication and one shift each, which all operations share."""

from amaranth.hdl import Cat, Module, Mux, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.pipeline import Pipeline, delayed
from hdl.lib.selection import or_mux
from hdl.lib.shapes import (
    codes_layout,
    exponents_layout,
    scalar_layout,
    settings_layout,
    table_write,
    word_layout,
)
from hdl.units.vector.functions import Silu
from hdl.units.vector.modulator import BELOW_BITS, LENGTH_BITS, Modulator
from hdl.units.vector.operands import rotation_layout
from hdl.units.vector.radix4 import Products
from hdl.units.vector.rotate import Rotator
from hdl.units.vector.scaler import VALUE_BITS, Scaler
from hdl.units.vector.softmax import Softmax
from hdl.units.vector.stages import STAGES
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import EXPONENT, VECTOR
from isa.instructions import Operation


class VectorLanes(wiring.Component):
    """From a word's operands to its result, at the stages of stages.STAGES; nothing stalls.

    valid, last   a word's source is there, and it is the instruction's last one: stage `source`
    present       of its scores, the lanes that are positions
    exponents     of its scores, a cycle after them
    operations, weighs, store   what the instruction is, from its first word's issue on; with the
                  settings, `maximum` and `alignment` they stand until its last result
    result, over, least   a cycle before the stage `results`; to be clipped as hdl.lib.arithmetic's
                  clip does. With `store` they are codes, and come at the stage `codes`
    clipped       lanes of a rotation or modulation that saturate, with them
    codes         of a store, at the stage `codes`
    scalar        of softmax and gate, when scalar_valid is set

    The parts that an instruction does not use are quiet: they give 0, and results are ORed.
    """

    def __init__(self, c: Configuration, contents: Contents = EMPTY):
        self._c, self._contents = c, contents
        lanes = c.vector_lanes
        super().__init__(
            {
                "operations": In(1).array(len(Operation)),
                "weighs": In(1),
                "store": In(1),
                "settings": In(settings_layout()),
                "valid": In(1),
                "last": In(1),
                "present": In(lanes),
                "source": In(word_layout(c)),
                "operand": In(word_layout(c)),
                "rotation": In(rotation_layout(c)),
                "late_rotation": In(rotation_layout(c)),
                "length": In(LENGTH_BITS),
                "below": In(BELOW_BITS),
                "exponents": In(exponents_layout(c)),
                "maximum": In(signed(VECTOR.bits)),
                "alignment": In(signed(EXPONENT.bits)),
                "result": Out(word_layout(c)),
                "over": Out(lanes),
                "least": Out(lanes),
                "clipped": Out(lanes),
                "codes": Out(codes_layout(c)),
                "scalar": Out(scalar_layout()),
                "scalar_valid": Out(1),
                "tables": In(table_write()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes, blocks = self._c.vector_lanes, self._c.spare_blocks
        m.submodules.products = products = Products(lanes)
        m.submodules.rotator = rotator = Rotator(lanes)
        m.submodules.modulator = modulator = Modulator(lanes)
        m.submodules.scaler = scaler = Scaler(lanes)
        m.submodules.silu = silu = Silu(lanes, self._contents, blocks)
        m.submodules.softmax = softmax = Softmax(lanes, self._contents, blocks)
        for part in (silu, softmax):
            wiring.connect(m, part.tables, wiring.flipped(self.tables))

        pipeline, op = Pipeline(m, STAGES), self.operations
        valid = pipeline.carry(self.valid, "source", name="valid", reset=True)
        # A register nearer to the lanes; right from a word's first cycle on.
        scaling = op[Operation.MODULATE] | self.weighs
        kind = Cat(op[Operation.ROTATE], op[Operation.SILU], self.store, scaling)
        rotates, activates, stores, scales = delayed(m, kind)
        m.d.comb += [
            products.mute.eq(self.weighs),
            rotator.second.eq(valid["products"]),
            rotator.active.eq(rotates),
            modulator.length.eq(self.length),
            modulator.below.eq(self.below),
            modulator.mute.eq(self.weighs),
            modulator.idle.eq(op[Operation.ROTATE] | op[Operation.SILU]),
            modulator.coding.eq(stores),
            modulator.product_shift.eq(self.settings.product_shift),
            scaler.active.eq(scales),
            silu.active.eq(activates),
            silu.widen.eq(self.settings.silu_widen),
            softmax.valid.eq(self.valid & self.weighs),
            softmax.last.eq(self.last),
            softmax.active.eq(self.weighs),
            softmax.gate.eq(op[Operation.GATE]),
            softmax.maximum.eq(self.maximum),
            softmax.alignment.eq(self.alignment),
            self.scalar.eq(softmax.scalar),
            self.scalar_valid.eq(softmax.scalar_valid),
        ]
        for lane in range(lanes):
            self._multiply(m, lane, products, modulator, silu, rotates, activates, valid)
            self._weigh(m, lane, pipeline, softmax, products, modulator, scaler)
            self._combine(m, lane, pipeline, products, rotator, modulator, scaler, silu)
        return m

    def _multiply(self, m: Module, lane: int, products, modulator, silu, rotates, activates,
                  valid) -> None:  # fmt: skip
        """Factors: an element and its cosine or sine, the way in a piece of SiLU and its slope, or
        the operand and the source's code."""
        source = self.source[lane]
        m.d.comb += [modulator.source[lane].eq(source), silu.argument[lane].eq(source)]
        with m.If(rotates):
            m.d.comb += products.value[lane].eq(source)
        with m.Elif(activates):
            m.d.comb += products.value[lane].eq(silu.delta[lane])
        with m.Else():
            m.d.comb += products.value[lane].eq(self.operand[lane])
        second = valid["factors"]  # of a rotation: the pair's other element takes part
        turn = Mux(second, self.late_rotation[lane ^ 1], self.rotation[lane])
        m.d.comb += [
            products.code[lane].eq(turn | silu.slope[lane] | modulator.size[lane]),
            products.up[lane].eq(modulator.up[lane]),
            products.negate[lane].eq(modulator.negative[lane]),
            silu.product[lane].eq(products.product[lane]),
        ]

    def _weigh(self, m: Module, lane: int, pipeline, softmax, products, modulator, scaler) -> None:
        """What the shift takes: a weight of attention, or a modulation's product."""
        ready = Softmax.STAGES["weight"]
        weight = pipeline.carry(softmax.weight[lane], "source", after=ready)["products"]
        right = pipeline.carry(softmax.amount[lane], "source", after=ready)["products"]
        amount = pipeline.carry(
            modulator.amount, "source", after=Modulator.STAGES["amount"]
        )["products"]  # fmt: skip
        m.d.comb += [
            softmax.scores[lane].eq(self.source[lane]),
            softmax.present[lane].eq(self.present[lane]),
            softmax.exponents[lane].eq(self.exponents[lane]),
            scaler.value[lane].eq(or_mux(weight, products.product[lane][:VALUE_BITS])),
            scaler.amount[lane].eq(or_mux(right, amount)),
        ]

    def _combine(self, m: Module, lane: int, pipeline, products, rotator, modulator, scaler,
                 silu) -> None:  # fmt: skip
        """The result of the part that is not quiet."""

        def at_end(value, start: str, after: int):
            return pipeline.carry(value, start, after=after)["results", -1]

        active = at_end(silu.value[lane], "source", Silu.LATENCY)
        turned = at_end(rotator.result[lane], "products", Rotator.LATENCY)
        beyond = at_end(rotator.clipped[lane], "products", Rotator.LATENCY)
        shifted, over, least = (
            at_end(value[lane], "products", Scaler.LATENCY)
            for value in (scaler.result, scaler.over, scaler.least)
        )
        m.d.comb += [
            rotator.product[lane].eq(products.product[lane]),
            self.result[lane].eq(or_mux(shifted, turned, active, modulator.codes[lane])),
            self.over[lane].eq(over),
            self.least[lane].eq(least),
            self.clipped[lane].eq(beyond | over | least),
            self.codes[lane].eq(modulator.codes[lane]),
        ]
