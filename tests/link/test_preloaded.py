"""Registers of a device with a model in its memories since power-on."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator

from hdl.link.registers import RegisterBlock
from isa.configurations import configuration
from isa.contents import Contents
from isa.packets import Space
from isa.registers import REGISTERS

IDENTITY = 0x12345678


def test_settings_come_back_with_a_reset_and_memories_do_not() -> None:
    held = Contents({}, {"context": 7, "epsilon_shift": -3}, IDENTITY)
    block = RegisterBlock(configuration("tiny"), held)
    m, reset = Module(), Signal()
    m.submodules.block = ResetInserter(reset)(block)

    async def bench(ctx) -> None:
        async def read(name: str) -> int:
            ctx.set(block.address, REGISTERS[name].address)
            await ctx.tick().repeat(2)
            return ctx.get(block.data)

        async def pulse(signal) -> None:
            ctx.set(signal, 1)
            await ctx.tick()
            ctx.set(signal, 0)

        assert await read("context") == 7
        assert await read("epsilon_shift") == 0xFFFFFFFD
        assert await read("image") == IDENTITY
        ctx.set(block.tables.space, Space.REGISTER)
        ctx.set(block.tables.address, REGISTERS["context"].address)
        ctx.set(block.tables.data, 9)
        await pulse(block.tables.enable)
        await ctx.tick()
        assert await read("context") == 9 and await read("image") == IDENTITY
        await pulse(reset)
        assert await read("context") == 7 and await read("image") == IDENTITY
        await pulse(block.overwritten)
        assert await read("image") == 0
        await pulse(reset)
        assert await read("image") == 0 and await read("context") == 7

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


