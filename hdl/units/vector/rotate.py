"""Rotary embedding: neighbouring pairs of a word turn by their angle (golden.units.attention)."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import saturate
from hdl.lib.ecp5 import carry_sum
from hdl.lib.pipeline import Pipeline, Stages, delayed
from hdl.units.vector.radix4 import PRODUCT_BITS
from isa.formats import TRIGONOMETRIC_FRACTION, VECTOR


class Rotator(wiring.Component):
    """Products of pairs (a, b) in two neighbouring cycles -> result, clipped.

    First lane 2i has a * cosine and lane 2i+1 b * sine; then, with `second`, a * sine and
    b * cosine. The result comes LATENCY cycles after the second, behind logic without a register.
    Rounds half up, once; saturates. Without `active` results are 0 from the second cycle on.
    """

    STAGES = Stages(products=0, total=1, rounded=1)
    LATENCY = STAGES.latency

    def __init__(self, lanes: int):
        super().__init__(
            {
                "product": In(signed(PRODUCT_BITS)).array(lanes),
                "second": In(1),
                "active": In(1),
                "result": Out(signed(VECTOR.bits)).array(lanes),
                "clipped": Out(1).array(lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.STAGES)
        bits = PRODUCT_BITS + 1
        minus = Signal()
        m.d.comb += minus.eq(~self.second)
        for i in range(0, len(self.product), 2):
            a, b = (p[:bits].as_signed() for p in (self.product[i] + 0, self.product[i + 1] + 0))
            total = carry_sum(
                m, platform, a, lambda b, c, d: d & (b ^ c), b, minus.replicate(bits),
                Const((1 << bits) - 1, bits), minus,
            ).as_signed()  # fmt: skip
            total = total[TRIGONOMETRIC_FRACTION - 1 :].as_signed()
            total = pipeline.carry(total, "products", name="total")["total"]
            rounded = ((total + 1) >> 1)[: len(total)].as_signed()
            rounded = pipeline.carry(Mux(self.active, rounded, 0), "total", name="rounded",
                                     shape=rounded.shape())["rounded"]  # fmt: skip
            value, clipped = saturate(rounded, VECTOR.bits)
            # One adder for both: the even lane's result came a cycle earlier.
            m.d.comb += [
                self.result[i].eq(delayed(m, value)),
                self.clipped[i].eq(delayed(m, clipped)),
                self.result[i + 1].eq(value),
                self.clipped[i + 1].eq(clipped),
            ]
        return m
