"""Between an SDRAM controller and the chip: a register at every pin, and the chip's clock."""

from amaranth.hdl import Const, Module
from amaranth.lib import io
from amaranth.lib.wiring import Component, In, Out

from hdl.memory.sdram import sdram_signature
from hdl.memory.sdram_timing import SdramTiming

SUBSIGNALS = ("clk", "clk_en", "cs", "ras", "cas", "we", "ba", "a", "dqm", "dq")
"""Of a platform's SDRAM resource; all are requested with direction "-"."""
OUTPUTS = ("cke", "ras_n", "cas_n", "we_n", "bank", "address", "dqm", "data_out", "data_enable")


class PinRegisters(Component):
    """The registers of SdramPins alone, as simulation needs them: the chip then has clock `sync`.

    controller: what the controller drives. chip: the same a cycle later; data_in comes back a
    cycle later too (hdl.memory.sdram.PIN_CYCLES together).
    """

    def __init__(self, timing: SdramTiming) -> None:
        super().__init__(
            {"controller": In(sdram_signature(timing)), "chip": Out(sdram_signature(timing))}
        )

    def elaborate(self, platform):
        m = Module()
        for name in OUTPUTS:
            m.d.sync += getattr(self.chip, name).eq(getattr(self.controller, name))
        m.d.sync += self.controller.data_in.eq(self.chip.data_in)
        return m


class SdramPins(Component):
    """The chip's pins with I/O registers, through the buffers of any platform.

    Args:
        port: what `platform.request("sdram", dir=dict.fromkeys(SUBSIGNALS, "-"))` gives; the
            resource says which pins are inverted.
        timing: of the chip.
        clock_domain: the domain whose edges the chip sees. The same frequency as `sync`, and a
            quarter of a cycle ahead of it (270 degrees): then commands have three quarters of a
            cycle to arrive and read data has about a cycle from the chip's edge to the register.
    """

    def __init__(self, port, timing: SdramTiming, clock_domain: str = "sdram") -> None:
        self._port, self._clock_domain = port, clock_domain
        super().__init__({"controller": In(sdram_signature(timing))})

    def elaborate(self, platform):
        m = Module()
        controller, port = self.controller, self._port

        def output(name: str, pins, value) -> None:
            m.submodules[name] = buffer = io.FFBuffer("o", pins)
            m.d.comb += buffer.o.eq(value)

        # Resources count active-low pins as inverted: a 1 here asserts.
        output("cke", port.clk_en, controller.cke)
        output("cs", port.cs, Const(1, 1))
        output("ras", port.ras, ~controller.ras_n)
        output("cas", port.cas, ~controller.cas_n)
        output("we", port.we, ~controller.we_n)
        output("bank", port.ba, controller.bank)
        output("address", port.a, controller.address)
        output("dqm", port.dqm, controller.dqm)
        m.submodules.data = data = io.FFBuffer("io", port.dq)
        m.d.comb += [
            data.o.eq(controller.data_out),
            data.oe.eq(controller.data_enable),
            controller.data_in.eq(data.i),
        ]
        # A double-data-rate register makes the clock, so that it has the delay of the other pins.
        m.submodules.clock = clock = io.DDRBuffer("o", port.clk, o_domain=self._clock_domain)
        m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]
        return m
