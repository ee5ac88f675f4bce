"""A bench that plays everything behind the receiver, and logs what comes, in order."""

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.lib.shapes import row_write_layout
from isa.configurations import Configuration
from isa.packets import Space
from tests.cocotb_support import Source, generator, unpack
from tests.link.packet_model import STREAMED, Event, Expected, Packet, Ring


class Bench:
    """Plays the link, the row memory, the rings, the transmitter and the sequencer.

    `idle` and `stall`: probability of a pause of the link and of whatever takes something.
    `running` follows `start` and is cleared by `end_run`.
    """

    def __init__(self, dut, c: Configuration, idle: float, stall: float) -> None:
        self.dut, self.c, self.stall = dut, c, stall
        self.rng = generator(f"bench {idle} {stall}")
        self.events: list[Event] = []
        self.rings = {space: Ring(c, space) for space in STREAMED}
        self.ready = dict.fromkeys(STREAMED, False)
        self.entry = dict.fromkeys(STREAMED, 0)
        self.running = False
        self.stopped = dut.stop.value == 1
        self.source = Source(dut, "link", 32, idle)
        self.prompt: list[tuple[int, bool]] = []
        self.stall_rings = stall  # of the rings alone
        self.drain = True  # the sequencer takes prompt tokens
        self.expected = Expected(c, self.rings, self.stopped)
        self._task = cocotb.start_soon(self._play())

    async def send(self, packets: list[Packet], timeout: int = 200_000) -> None:
        """Sends packets, waits until they are executed, and compares everything they caused.

        `running` must not change between them but by a RUN that comes last.
        """
        for packet in packets:
            self.expected.take(packet, self.running)
            self.source.put(packet.words)
        await self.source.send([], timeout)
        await self.settle(timeout)
        self.check()

    async def settle(self, timeout: int) -> None:
        """Waits for the last event that is due, and a little longer for one that is not."""
        for _ in range(timeout):
            enough = len(self.events) >= len(self.expected.events)
            if enough and (not self.drain or len(self.prompt) >= len(self.expected.prompt)):
                break
            await RisingEdge(self.dut.clk)
        await ClockCycles(self.dut.clk, 12)

    def check(self) -> None:
        for index, wanted in enumerate(self.expected.events):
            got = self.events[index] if index < len(self.events) else None
            assert got == wanted, f"event {index}: {wanted} expected, {got}"
        assert len(self.events) == len(self.expected.events), self.events[-1]
        if self.drain:
            assert self.prompt == self.expected.prompt
        self.events.clear()
        self.expected.events.clear()

    def end_run(self) -> None:
        self.running = False

    def stop(self) -> None:
        self.source.stop()
        self._task.cancel()

    async def _play(self) -> None:
        dut, held = self.dut, None
        self._drive()
        while True:
            await RisingEdge(dut.clk)
            offered = int(dut.rows__payload.value) if dut.rows__valid.value == 1 else None
            assert held in (None, offered), "a row write was offered, then changed"
            held = offered if dut.rows__ready.value == 0 else None
            self._observe()
            for space, done in ((Space.ROW, dut.row_done), (Space.PARAMETER, dut.parameter_done)):
                if done.value == 1:
                    assert self.ready[space], f"{space.name}: the ring was full"
                    self.events.append(("done", int(space)))
                    self.entry[space] += 1
                    self.ready[space] = False
                if not self.ready[space]:
                    self.ready[space] = self.rng.random() >= self.stall_rings
            self._drive()

    def _drive(self) -> None:
        dut, go = self.dut, lambda: int(self.rng.random() >= self.stall)
        dut.rows__ready.value = go()
        dut.read__ready.value = go()
        dut.fault__ready.value = go()
        dut.prompt__ready.value = go() if self.running and self.drain else 0
        dut.running.value = int(self.running)
        dut.row_ready.value = int(self.ready[Space.ROW])
        dut.parameter_ready.value = int(self.ready[Space.PARAMETER])
        dut.row_address.value = self._next(Space.ROW)
        dut.parameter_address.value = self._next(Space.PARAMETER)

    def _next(self, space: Space) -> int:
        return self.rings[space][self.entry[space]]

    def _row(self, bits: int) -> None:
        write = unpack(row_write_layout(self.c), bits)
        cores, lanes, data = write["cores"], write["lanes"], write["data"]
        core, lane = cores.bit_length() - 1, lanes.bit_length() - 4
        assert (cores, lanes, write["spread"]) == (1 << core, 0xF << lane, 0)
        word = sum(data[(lane + i) % len(data)] << 8 * i for i in range(4))
        self.events.append(("row", write["address"], core, lane, word))

    def _observe(self) -> None:
        dut, log = self.dut, self.events.append
        if dut.rows__valid.value == 1 and dut.rows__ready.value == 1:
            self._row(int(dut.rows__payload.value))
        if dut.tables__enable.value == 1:
            space, address = int(dut.tables__space.value), int(dut.tables__address.value)
            log(("table", space, address, int(dut.tables__data.value)))
        if dut.read__valid.value == 1 and dut.read__ready.value == 1:
            bits = int(dut.read__payload.value)
            log(("read", bits & 0xFF, bits >> 8 & 0xFFFFFFFF, bits >> 40))
        if dut.fault__valid.value == 1 and dut.fault__ready.value == 1:
            log(("fault", int(dut.fault__payload.value)))
        if dut.start.value == 1:
            flags = bool(dut.reset_position.value), bool(dut.send_logits.value)
            log(("start", *flags, int(dut.generate.value)))
            assert dut.stop.value == 0, "STOP belongs to the run before"
            self.running = True
        if dut.prompt__valid.value == 1 and dut.prompt__ready.value == 1:
            self.prompt.append((int(dut.prompt__payload.value), bool(dut.prompt_last.value)))
        stopped = dut.stop.value == 1
        if stopped and not self.stopped:
            log(("stop",))
        self.stopped = stopped
