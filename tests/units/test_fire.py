"""Fire: instructions to gathered tiles, against golden, with stalls on every side."""

import pytest
from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, connect, flipped

from hdl.lib.bit_groups import grouped
from hdl.lib.shapes import word_layout, write_port
from hdl.units.fire.fire import Fire
from isa.formats import VECTOR
from tests.cocotb_support import run_cocotb
from tests.units.devices import DEVICES, device

INNER = ("instruction", "tables", "row_write", "tiles")
PLAIN_IN = ("position", "token", "settings", "ring_pointer", "ring_available", "read_word")
PLAIN_OUT = ("done", "ring_take", "ring_take_rows", "sums", "counters")


class FireHarness(wiring.Component):
    """Fire with the vector memory and the magnitude registers it reads, which the bench writes."""

    def __init__(self, name: str) -> None:
        self.c = device(name)
        self.fire = Fire(self.c)
        members = self.fire.signature.members
        super().__init__(
            {
                **{n: members[n] for n in (*INNER, *PLAIN_IN, *PLAIN_OUT)},
                "vector": In(write_port(16, word_layout(self.c))),
                "magnitude": In(write_port(8, unsigned(VECTOR.bits))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fire = fire = self.fire
        m.submodules.vectors = vectors = Memory(
            shape=word_layout(self.c), depth=self.c.vector_depth, init=[]
        )
        m.submodules.magnitudes = magnitudes = Memory(
            shape=unsigned(VECTOR.bits), depth=self.c.magnitudes, init=[]
        )
        for memory, port in ((vectors, self.vector), (magnitudes, self.magnitude)):
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(port.enable), write.addr.eq(port.address), write.data.eq(port.data)
            ]  # fmt: skip
        read = vectors.read_port(transparent_for=())
        turn = Signal(range(3))  # every third cycle belongs to another reader
        m.d.sync += turn.eq(Mux(turn == 2, 0, turn + 1))
        look = magnitudes.read_port(domain="comb")
        m.d.comb += [
            read.addr.eq(fire.source.address),
            fire.source.data.eq(read.data),
            fire.source.grant.eq(turn != 2),
            look.addr.eq(fire.magnitude.address),
            Value.cast(fire.magnitude.data).eq(grouped(look.data)),
        ]
        for name in INNER:
            connect(m, getattr(fire, name), flipped(getattr(self, name)))
        for name in PLAIN_IN:
            m.d.comb += getattr(fire, name).eq(getattr(self, name))
        for name in PLAIN_OUT:
            m.d.comb += getattr(self, name).eq(getattr(fire, name))
        return m


@pytest.mark.parametrize("name", DEVICES)
def test_fire(name):
    run_cocotb(FireHarness(name), "tests.units.bench_fire", f"fire_{name}", {"name": name})
