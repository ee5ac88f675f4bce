"""What the testbenches share: clock and reset, stream sources and sinks with random stalls.

A test file holds both sides. The pytest side builds a component and calls `run_cocotb`; the cocotb
side, in the same file, runs inside the simulator:

    @pytest.mark.parametrize("depth", [2, 16])
    def test_fifo(depth):
        run_cocotb(Fifo(depth), __name__, f"fifo_{depth}", {"depth": depth})

    @cocotb.test()
    async def passes_all(dut):                   # no test_ prefix: pytest would collect it
        rng = generator("passes_all")
        values = [rng.randrange(256) for _ in range(200)]
        await start(dut)
        for stalls in STALLS:
            await check_streams(dut, {"i": (8, values)}, {"o": (8, values)}, stalls)
"""

import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.handle import HierarchyObject
from cocotb.simtime import get_sim_time
from cocotb.triggers import ClockCycles, RisingEdge, gather

from sim.cocotb_runner import run_cocotb
from tests.packing import pack, unpack, width_of
from tests.seeds import generator, seed

__all__ = [
    "CLOCK_NS", "STALLS", "Sink", "Source", "check_streams", "generator", "pack", "parameters",
    "run_cocotb", "seed", "start", "unpack",
]

CLOCK_NS = 10
STALLS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.3), (0.8, 0.2), (0.2, 0.8))
"""Pairs of (idle probability of sources, stall probability of sinks) that every stream meets."""


def parameters() -> dict[str, Any]:
    """Inside the simulator: the `parameters` that `run_cocotb` was given."""
    return json.loads(os.environ["SPIKELET_PARAMETERS"])


def cycle() -> int:
    """The number of the clock cycle at this moment."""
    return int(get_sim_time("ns")) // CLOCK_NS


async def start(dut: HierarchyObject, reset_cycles: int = 2) -> None:
    """Prints the seed, starts the clock `clk` and holds `rst` high; returns after its release.

    Sources and sinks are made after it. Whatever a bench drives itself it writes after
    `await RisingEdge(dut.clk)`, where it also reads: values then are those before the edge.
    """
    seed()
    dut.rst.value = 1
    Clock(dut.clk, CLOCK_NS, unit="ns").start()
    await ClockCycles(dut.clk, reset_cycles)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


class Source:
    """Feeds an input stream. `idle` is the probability of no offer in a cycle that could have one.

    `shape` is the payload's (any Amaranth shape or layout; without it values are raw bits).
    `cycles` has the cycle of every transfer. While idle the payload is random.
    """

    def __init__(
        self, dut: HierarchyObject, name: str, shape: Any = None, idle: float = 0.0
    ) -> None:
        self._clock = dut.clk
        self._payload, self._valid, self._ready = _ports(dut, name)
        self._shape = shape
        _check_width(name, shape, self._payload)
        self._idle = idle
        self._rng = generator(f"source {name} {idle}")
        self._queue: deque[int] = deque()
        self.cycles: list[int] = []
        self._task = cocotb.start_soon(self._drive())

    def put(self, values: Sequence[Any]) -> None:
        """Queues values; returns at once."""
        self._queue.extend(pack(self._shape, value) for value in values)

    async def send(self, values: Sequence[Any], timeout: int = 200_000) -> None:
        """Queues values and waits until the unit has taken all; fails after `timeout` cycles."""
        self.put(values)
        edge = RisingEdge(self._clock)
        for _ in range(timeout):
            if not self._queue:
                return
            await edge
        raise AssertionError(f"{len(self._queue)} values not taken in {timeout} cycles")

    def stop(self) -> None:
        """Withdraws from the ports (valid low), so that another source can take over."""
        self._task.cancel()
        self._offer(False)

    def _offer(self, on: bool) -> None:
        if self._payload is not None:
            bits = self._queue[0] if on else self._rng.getrandbits(len(self._payload))
            self._payload.value = bits
        if self._valid is not None:
            self._valid.value = int(on)

    async def _drive(self) -> None:
        edge = RisingEdge(self._clock)
        offered = False
        self._offer(False)
        while True:
            await edge
            if offered and self._ready is not None and self._ready.value == 0:
                continue
            before = offered
            if before:
                self._queue.popleft()
                self.cycles.append(cycle())
            offered = bool(self._queue) and self._rng.random() >= self._idle
            if offered or before:
                self._offer(offered)


class Sink:
    """Drains an output stream. `stall` is the probability of ready being low in a cycle.

    Fails the test when the unit breaks the stream rule: what is offered stays offered, with the
    same payload, until it is taken. `cycles` has the cycle of every transfer.
    """

    def __init__(
        self, dut: HierarchyObject, name: str, shape: Any = None, stall: float = 0.0
    ) -> None:
        self._name = name
        self._clock = dut.clk
        self._payload, self._valid, self._ready = _ports(dut, name)
        self._shape = shape
        _check_width(name, shape, self._payload)
        self._stall = stall
        self._rng = generator(f"sink {name} {stall}")
        self._arrived: deque[Any] = deque()
        self.cycles: list[int] = []
        self._task = cocotb.start_soon(self._watch())

    async def receive(self, count: int, timeout: int = 200_000) -> list[Any]:
        """The next `count` values, oldest first; fails when they take over `timeout` cycles."""
        edge = RisingEdge(self._clock)
        for _ in range(timeout):
            if len(self._arrived) >= count:
                return [self._arrived.popleft() for _ in range(count)]
            await edge
        raise AssertionError(
            f"{self._name}: {len(self._arrived)} of {count} values came in {timeout} cycles"
        )

    async def silent(self, cycles: int) -> None:
        """Waits and fails when a value comes, or one is left over."""
        await ClockCycles(self._clock, cycles)
        assert not self._arrived, f"{self._name}: unexpected {list(self._arrived)[:5]}"

    def stop(self) -> None:
        """Stops taking values (ready low), so that another sink can take over."""
        self._task.cancel()
        if self._ready is not None:
            self._ready.value = 0

    async def _watch(self) -> None:
        edge = RisingEdge(self._clock)
        ready, held = self._ready is None, None
        while True:
            await edge
            bits = None
            if self._valid is None or self._valid.value == 1:
                bits = 0 if self._payload is None else int(self._payload.value)
            if held is not None and bits != held:
                now = "valid fell" if bits is None else f"the payload became {bits:#x}"
                raise AssertionError(
                    f"{self._name}: {held:#x} was offered and not yet taken, then {now}"
                )
            held = bits if not ready else None
            if bits is not None and ready:
                self._arrived.append(unpack(self._shape, bits))
                self.cycles.append(cycle())
            if self._ready is not None:
                wanted = self._rng.random() >= self._stall
                if wanted != ready:
                    self._ready.value = int(wanted)
                    ready = wanted


async def check_streams(
    dut: HierarchyObject,
    inputs: Mapping[str, tuple[Any, Sequence[Any]]],
    outputs: Mapping[str, tuple[Any, Sequence[Any]]],
    stalls: tuple[float, float] = (0.0, 0.0),
    timeout: int = 200_000,
    quiet_cycles: int = 20,
) -> dict[str, list[int]]:
    """Feeds every input and compares every output, value by value; then nothing more may come.

    `inputs` and `outputs` map a port name to (shape, values). Returns the cycles of the transfers
    of each port, for checks of throughput and latency.
    """
    idle, stall = stalls
    sinks = {name: Sink(dut, name, shape, stall) for name, (shape, _) in outputs.items()}
    sources = {name: Source(dut, name, shape, idle) for name, (shape, _) in inputs.items()}
    for name, (_, values) in inputs.items():
        sources[name].put(values)

    async def compare(name: str, expected: Sequence[Any]) -> None:
        for index, wanted in enumerate(expected):
            (got,) = await sinks[name].receive(1, timeout)
            assert got == wanted, f"{name}[{index}]: expected {wanted}, got {got} ({stalls=})"

    await gather(*(compare(name, expected) for name, (_, expected) in outputs.items()))
    for source in sources.values():
        await source.send([], timeout)
    for sink in sinks.values():
        await sink.silent(quiet_cycles)
    for agent in (*sources.values(), *sinks.values()):
        agent.stop()
    await RisingEdge(dut.clk)
    return {name: agent.cycles for name, agent in (*sources.items(), *sinks.items())}


def _ports(dut: HierarchyObject, name: str) -> tuple[Any, Any, Any]:
    """Payload, valid and ready; None for what is constant (always_valid, always_ready)."""
    found = tuple(getattr(dut, f"{name}__{part}", None) for part in ("payload", "valid", "ready"))
    assert any(port is not None for port in found), f"{dut._name} has no stream port {name}"
    return found


def _check_width(name: str, shape: Any, payload: Any) -> None:
    width = 0 if payload is None else len(payload)
    assert shape is None or width_of(shape) == width, (
        f"{name}: the shape has {width_of(shape)} bits, the port {width}"
    )
