"""UART in RTL against cocotbext-uart: bytes both ways, wrong rates, noise, missing stop bits."""

import cocotb
import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from cocotb.simtime import get_sim_time
from cocotb.triggers import Timer
from cocotbext.uart import UartSink, UartSource

from hdl.link.uart import UartReceiver, UartTransmitter, received_layout
from tests.cocotb_support import (
    CLOCK_NS,
    Sink,
    Source,
    generator,
    parameters,
    run_cocotb,
    start,
)

BAUD = 3_000_000


class Uart(Component):
    """Both directions side by side."""

    def __init__(self, clock_hz: int) -> None:
        self._receiver = UartReceiver(clock_hz, BAUD)
        self._transmitter = UartTransmitter(clock_hz, BAUD)
        super().__init__({
            "rx": In(1, init=1), "tx": Out(1, init=1),
            "received": Out(stream.Signature(received_layout(), always_ready=True)),
            "send": In(stream.Signature(unsigned(8))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver, m.submodules.transmitter = self._receiver, self._transmitter
        connect(m, self._receiver.bytes, flipped(self.received))
        connect(m, flipped(self.send), self._transmitter.bytes)
        m.d.comb += [self._receiver.rx.eq(self.rx), self.tx.eq(self._transmitter.tx)]
        return m


def bit_ns() -> float:
    """A bit time in the bench, whose clock has CLOCK_NS whatever the unit was built for."""
    return parameters()["clock_hz"] * CLOCK_NS / BAUD


async def line(dut, bits: list[int], spike: bool = False) -> None:
    """Drives the line a bit at a time; `spike`: with a wrong cycle in the middle of each."""
    for bit in bits:
        dut.rx.value = bit
        if not spike:
            await Timer(round(bit_ns()), "ns")
            continue
        half = round((bit_ns() - CLOCK_NS) / 2)
        await Timer(half, "ns")
        dut.rx.value = 1 - bit
        await Timer(CLOCK_NS, "ns")
        dut.rx.value = bit
        await Timer(half, "ns")
    dut.rx.value = 1


def frame(byte: int, stop: int = 1) -> list[int]:
    return [0, *(byte >> i & 1 for i in range(8)), stop]


@cocotb.test()
async def bytes_go_out(dut):
    dut.rx.value = 1
    await start(dut)
    sink = UartSink(dut.tx, baud=round(1e9 / bit_ns()))
    source = Source(dut, "send", 8)
    rng = generator("out")
    data = bytes([0x00, 0xFF, 0x55, 0xAA]) + rng.randbytes(60)
    began = get_sim_time("ns")
    source.put(data)
    got = bytearray()
    while len(got) < len(data):
        got += await sink.read(1)
    assert bytes(got) == data
    # No pause between bytes: ten bit times each.
    taken = (get_sim_time("ns") - began) / (10 * bit_ns())
    assert len(data) - 0.6 <= taken <= len(data) + 0.6, taken


@cocotb.test()
async def bytes_come_in(dut):
    dut.rx.value = 1
    await start(dut)
    sink = Sink(dut, "received", received_layout())
    rng = generator("in")
    for share in (0.98, 1.0, 1.02):  # of the baud rate
        source = UartSource(dut.rx, baud=share * 1e9 / bit_ns())
        data = bytes([0x00, 0xFF, 0x55, 0xAA]) + rng.randbytes(40)
        await source.write(data)
        got = await sink.receive(len(data))
        assert [byte["data"] for byte in got] == list(data), share
        assert not any(byte["error"] for byte in got)
        await source.wait()
        await Timer(round(2 * bit_ns()), "ns")


@cocotb.test()
async def noise_is_outvoted(dut):
    dut.rx.value = 1
    await start(dut)
    sink = Sink(dut, "received", received_layout())
    rng = generator("noise")
    data = rng.randbytes(20)
    for byte in data:
        await line(dut, frame(byte), spike=True)
        dut.rx.value = 0  # a start bit that is none
        await Timer(CLOCK_NS, "ns")
        dut.rx.value = 1
        await Timer(round(bit_ns()), "ns")
    got = await sink.receive(len(data))
    assert [byte["data"] for byte in got] == list(data)
    assert not any(byte["error"] for byte in got)
    await sink.silent(round(20 * bit_ns() / CLOCK_NS))


@cocotb.test()
async def missing_stop_bits_are_told(dut):
    dut.rx.value = 1
    await start(dut)
    sink = Sink(dut, "received", received_layout())
    await line(dut, frame(0x5A, stop=0) + [0] * 30 + [1] * 3 + frame(0xA5))
    got = await sink.receive(2)
    assert got[0]["error"] == 1 and got[1] == {"data": 0xA5, "error": 0}
    await sink.silent(round(20 * bit_ns() / CLOCK_NS))


@pytest.mark.parametrize("clock_hz", [25_000_000, 48_000_000, 100_000_000])
def test_uart(clock_hz):
    run_cocotb(Uart(clock_hz), __name__, f"uart_{clock_hz // 1_000_000}", {"clock_hz": clock_hz})


def test_a_clock_too_slow_is_refused():
    with pytest.raises(ValueError, match="need a clock of 24000000 Hz"):
        UartReceiver(20_000_000, BAUD)
