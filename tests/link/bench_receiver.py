"""What the receiver must do with packets, and a bench that plays everything behind it."""

from dataclasses import dataclass

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.lib.shapes import row_write_layout
from isa.configurations import Configuration
from isa.packets import HEADER, HEADER_WORDS, Fault, Kind, RunFlag, Space
from tests.cocotb_support import Source, generator, unpack

READABLE = (Space.ROW, Space.VECTOR, Space.REGISTER)
WRITABLE = set(Space) - {Space.VECTOR}
STREAMED = (Space.ROW, Space.PARAMETER)
TABLE_WORDS = 1 << 16  # link words that tables.address reaches
ROWS = 1 << 20  # rows that a row write reaches

Event = tuple


@dataclass(frozen=True)
class Packet:
    """A packet from the host, `kind` and `space` any bytes; READ has a length and no payload."""

    kind: int
    space: int = 0
    flags: int = 0
    value: int = 0
    payload: tuple[int, ...] = ()
    length: int | None = None

    @property
    def words(self) -> list[int]:
        length = len(self.payload) if self.length is None else self.length
        header = HEADER.pack(
            kind=self.kind, space=self.space, flags=self.flags, value=self.value, length=length
        )
        return [header >> 32 * i & 0xFFFFFFFF for i in range(HEADER_WORDS)] + list(self.payload)


class Ring:
    """Where the entries of a ring go: anywhere that the ports reach, known in advance."""

    def __init__(self, c: Configuration, space: Space) -> None:
        pair_bits = (c.vector_lanes // 2).bit_length() - 1
        self._bits = 20 if space is Space.ROW else 16 - pair_bits
        self._rng = generator(f"ring {space.name}")
        self._addresses: list[int] = []

    def __getitem__(self, entry: int) -> int:
        while len(self._addresses) <= entry:
            self._addresses.append(self._rng.getrandbits(self._bits))
        return self._addresses[entry]


class Expected:
    """What packets must give: events in order, and the tokens of prompts."""

    def __init__(self, c: Configuration, rings: dict[Space, Ring], stopped: bool) -> None:
        self.c, self._rings = c, rings
        self._entry = dict.fromkeys(STREAMED, 0)
        self._stopped = stopped
        self.events: list[Event] = []
        self.prompt: list[tuple[int, bool]] = []

    def take(self, p: Packet, running: bool) -> None:
        """Adds what one packet must give."""
        length = len(p.payload)
        if p.kind == Kind.STOP:
            if not self._stopped:
                self.events.append(("stop",))
            self._stopped = True
        elif p.kind == Kind.RUN:
            if running:
                self._fault(Fault.RUN_BUSY)
            elif not 1 <= length <= self.c.context:
                self._fault(Fault.PROMPT_TOO_LONG)
            else:
                flags = bool(p.flags & RunFlag.RESET), bool(p.flags & RunFlag.LOGITS)
                self.events.append(("start", *flags, p.value))
                tokens = [word & 0x3FFFF for word in p.payload]
                self.prompt += [(token, i == length - 1) for i, token in enumerate(tokens)]
                self._stopped = False
        elif p.kind == Kind.WRITE:
            self._write(p)
        elif p.kind == Kind.STREAM:
            self._stream(p)
        elif p.kind == Kind.READ:
            if p.space not in READABLE:
                self._fault(Fault.UNKNOWN_SPACE)
            elif p.space != Space.REGISTER and running:
                self._fault(Fault.RUN_BUSY)
            else:
                self.events.append(("read", p.space, p.value, p.length))
        else:
            self._fault(Fault.UNKNOWN_KIND)

    def _fault(self, reason: Fault) -> None:
        self.events.append(("fault", int(reason)))

    def _row(self, row: int, place: int, word: int) -> None:
        """The `place`-th word of a row of all cores: cores one after the other, four lanes each."""
        core, word_of_core = divmod(place, self.c.lanes // 4)
        self.events.append(("row", row, core, 4 * word_of_core, word))

    def _write(self, p: Packet) -> None:
        if p.space not in WRITABLE:
            self._fault(Fault.UNKNOWN_SPACE)
            return
        each = self.c.cores * self.c.lanes // 4
        for address, word in enumerate(p.payload, p.value):
            if p.space != Space.ROW:
                if address < TABLE_WORDS:
                    self.events.append(("table", p.space, address, word))
            elif address // each < ROWS:
                self._row(address // each, address % each, word)

    def _stream(self, p: Packet) -> None:
        c = self.c
        if p.space not in STREAMED:
            self._fault(Fault.UNKNOWN_SPACE)
            return
        space = Space(p.space)
        each = c.cores * c.lanes // 4 if space is Space.ROW else c.vector_lanes // 2
        for i, word in enumerate(p.payload):
            at, place = self._rings[space][self._entry[space]], i % each
            if space is Space.ROW:
                self._row(at, place, word)
            else:
                self.events.append(("table", p.space, at * each + place, word))
            if place == each - 1:
                self.events.append(("done", p.space))
                self._entry[space] += 1


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
