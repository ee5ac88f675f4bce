"""Small Amaranth memories of many shapes, for inference by Yosys."""

import random
from dataclasses import dataclass

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

LANES = 4
PLAIN = 0xA5


@dataclass(frozen=True)
class Shape:
    """A memory; `lane` bits have a write enable of their own."""

    width: int
    depth: int
    lane: int = 0
    transparent: bool = False
    readers: int = 1
    rom: bool = False
    style: str = "block"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lane", self.lane or self.width)

    @property
    def used(self) -> int:
        """The addresses that are used: a power of two."""
        return 1 << self.depth.bit_length() - 1


MEMORIES = (
    Shape(36, 512, lane=9), Shape(32, 300, lane=8), Shape(36, 512, transparent=True),
    Shape(18, 1024, lane=9), Shape(9, 2048), Shape(8, 2048, transparent=True),
    Shape(4, 4096), Shape(2, 8192), Shape(1, 16384), Shape(20, 256, rom=True),
    Shape(16, 512, lane=8, readers=2), Shape(5, 100, readers=2), Shape(7, 40, style="distributed"),
    Shape(12, 64, lane=6, transparent=True, style="distributed"),
)  # fmt: skip


def contents(shape: Shape) -> list[int]:
    """Random rows, the same for the same shape."""
    rng = random.Random(f"{shape.width} {shape.depth}")
    return [rng.getrandbits(shape.width) for _ in range(shape.depth)]


class Memories(wiring.Component):
    """All of them on the same inputs, and a register that no reset reaches."""

    def __init__(self) -> None:
        members = {"write_address": In(14), "write_enable": In(LANES), "data": In(36),
                   "read_address_0": In(14), "read_address_1": In(14), "read_enable": In(1),
                   "plain": Out(8)}  # fmt: skip
        for number, shape in enumerate(MEMORIES):
            members |= {f"out_{number}_{k}": Out(shape.width) for k in range(shape.readers)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        plain = Signal(8, init=PLAIN, reset_less=True)
        with m.If(self.write_enable.all() & (self.write_address == 0)):
            m.d.sync += plain.eq(self.data)
        m.d.comb += self.plain.eq(plain)
        for number, shape in enumerate(MEMORIES):
            memory = Memory(shape=unsigned(shape.width), depth=shape.depth, init=contents(shape),
                            attrs={"ram_style": shape.style})  # fmt: skip
            m.submodules[f"memory_{number}"] = memory
            bits = shape.used.bit_length() - 1
            ports = ()
            if not shape.rom:
                write = memory.write_port(granularity=shape.lane)
                ports = (write,) if shape.transparent else ()
                m.d.comb += [
                    write.addr.eq(self.write_address[:bits]),
                    write.data.eq(self.data),
                    write.en.eq(self.write_enable),
                ]
            for reader in range(shape.readers):
                read = memory.read_port(transparent_for=ports)
                m.d.comb += [
                    read.addr.eq(getattr(self, f"read_address_{reader}")[:bits]),
                    read.en.eq(self.read_enable),
                    getattr(self, f"out_{number}_{reader}").eq(read.data),
                ]
        return m


class ClearedRead(wiring.Component):
    """A read register with a synchronous clear, which Yosys maps to the block RAM's reset."""

    address: In(9)
    clear: In(1)
    out: Out(18)

    def elaborate(self, platform):
        m = Module()
        shape = Shape(width=18, depth=512)
        m.submodules.memory = memory = Memory(
            shape=unsigned(18), depth=512, init=contents(shape), attrs={"ram_style": "block"}
        )
        read = memory.read_port(domain="comb")
        m.d.comb += read.addr.eq(self.address)
        out = Signal(18, reset_less=True)
        m.d.sync += out.eq(read.data)
        with m.If(self.clear):
            m.d.sync += out.eq(0)
        m.d.comb += self.out.eq(out)
        return m
