"""Receiver: host packets (isa/packets.py) become memory writes, ring entries, reads and runs."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.shapes import TOKEN_BITS, row_write_layout, table_layout, table_write
from hdl.link.prompt_queue import PromptQueue
from hdl.memory.external_port import address_bits, word_write_layout
from isa.configurations import Configuration
from isa.packets import Fault, Kind, RunFlag, Space

READABLE = (Space.ROW, Space.VECTOR, Space.REGISTER)
WRITABLE = tuple(s for s in Space if s not in (Space.VECTOR, Space.EXTERNAL))
STREAMED = (Space.ROW, Space.PARAMETER)
ADDRESSED = ("row", "table", "external")  # payload of a WRITE, by where it goes
PAYLOAD = (*ADDRESSED, "stream_row", "stream_parameter", "prompt", "drop")
STATES = ("kind", "value", "length", "check", *PAYLOAD, "fault", "read", "start", "end")
TABLE_BITS = table_layout()["address"].width


def read_request_layout() -> StructLayout:
    """A READ packet for the transmitter: memory, first link word, how many."""
    return StructLayout({"space": unsigned(8), "address": unsigned(32), "length": unsigned(32)})


def _external(c: Configuration) -> dict:
    if not c.external_words:
        return {}
    return {"external": Out(stream.Signature(word_write_layout(address_bits(c))))}


class Receiver(Component):
    """Takes link words, one a cycle, except where a ring is full or a read is in progress.

    A packet takes four cycles, one a payload word and one more (a prompt, rows, tables alike).
    rows: writes of four lanes of one core; external: words for external memory, where there is one;
    tables: every other memory, `tables.address` counted in link words. Words beyond what these
    addresses reach are dropped here; a memory drops what is beyond its own end.

    Ring entries (STREAM) go where `row_address` / `parameter_address` say, while `row_ready` /
    `parameter_ready`; `row_done` / `parameter_done` are set in the cycle in which an entry's last
    word is written. Address and ready may change in the cycle after, not within an entry. What is
    left of a packet behind its last whole entry is not announced; the next packet overwrites it.

    `start` is a pulse once the whole prompt is in the queue; `reset_position`, `send_logits` and
    `generate` then belong to this run. `stop` stays set from STOP to the next RUN.

    `overwrites` is set for a cycle when a WRITE to anything but registers begins.

    READ and a fault wait for the transmitter. Between the STREAM packets of one position a host
    therefore must not READ: logits on their way could need the rows that wait behind it.

    A state is a flip-flop, and what a header says is decided into registers while the header comes,
    so that a word is taken behind few look-up tables: each state has its own condition for it, and
    most have none but `link.valid`. `running` is seen two cycles late.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                **_external(c),
                "link": In(stream.Signature(unsigned(32))),
                "rows": Out(stream.Signature(row_write_layout(c))),
                "tables": Out(table_write()),
                "row_address": In(20),
                "row_ready": In(1),
                "row_done": Out(1),
                "parameter_address": In(18),
                "parameter_ready": In(1),
                "parameter_done": Out(1),
                "read": Out(stream.Signature(read_request_layout())),
                "fault": Out(stream.Signature(Fault)),
                "prompt": Out(stream.Signature(unsigned(TOKEN_BITS))),
                "prompt_last": Out(1),
                "running": In(1),
                "start": Out(1),
                "reset_position": Out(1),
                "send_logits": Out(1),
                "generate": Out(32),
                "stop": Out(1),
                "overwrites": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        at = {name: Signal(name=f"at_{name}", init=name == "kind") for name in STATES}
        # What is no state needs no reset: it is set before it counts.
        kind, space = Signal(8, reset_less=True), Signal(8, reset_less=True)
        flags = Signal(16, reset_less=True)
        left, address = Signal(32, reset_less=True), Signal(32, reset_less=True)
        # left is 1; was 0; no prompt's length
        final, empty, unfit = (Signal(reset_less=True) for _ in range(3))
        beyond = Signal(reset_less=True)  # no address reaches this word of a WRITE, nor those after
        word, come = self.link.payload, self.link.valid
        take = {name: Signal(name=f"take_{name}") for name in PAYLOAD}  # a word, in this state
        m.d.comb += [
            self.fault.valid.eq(at["fault"]),
            self.read.valid.eq(at["read"]),
            self.read.payload.space.eq(space),
            self.read.payload.address.eq(address),
            self.read.payload.length.eq(left),
            self.start.eq(at["start"]),
        ]

        def go(origin: str, target: str) -> None:
            m.d.sync += [at[origin].eq(0), at[target].eq(1)]

        with m.If(at["kind"] & come):
            m.d.sync += Cat(kind, space, flags).eq(word)
            go("kind", "value")
        with m.If(at["value"] & come):
            go("value", "length")
        with m.If(at["length"] & come):
            go("length", "check")
        # `left` is counted a cycle late, as many wires hang on it.
        taken, took = Signal(), Signal(reset_less=True)
        m.d.sync += took.eq(taken)
        with m.If(at["length"]):
            m.d.sync += [
                left.eq(word), final.eq(word == 1), empty.eq(word == 0),
                unfit.eq((word == 0) | (word > self.c.context)),
            ]  # fmt: skip
        with m.Elif(took):
            m.d.sync += left.eq(left - 1)
        with m.If(taken):
            m.d.sync += final.eq(Mux(took, left == 3, left == 2))
        reads = self._check(m, at, (kind, space, flags), address, empty, unfit, beyond)
        self._addresses(m, at, take, taken, address, beyond)
        with m.If(taken & final):
            m.d.sync += [
                *(at[name].eq(0) for name in PAYLOAD),
                at["start"].eq(at["prompt"]), at["end"].eq(~at["prompt"]),
            ]  # fmt: skip
        with m.If(at["fault"] & self.fault.ready):
            m.d.sync += at["fault"].eq(0)
            with m.If(empty | reads):  # the length of a READ is not that of a payload
                m.d.sync += at["end"].eq(1)
            with m.Else():
                m.d.sync += at["drop"].eq(1)
        with m.If(at["read"] & self.read.ready):
            go("read", "kind")
        for name in ("start", "end"):
            with m.If(at[name]):
                go(name, "kind")
        self._payload(m, at, take, taken, address, final, beyond)
        return m

    def _check(self, m: Module, at, header, address, empty, unfit, beyond) -> Signal:
        """What becomes of a packet, from registers; whether it is a READ.

        Kind and space are decided upon twice, in the two cycles or more before the state "check":
        what they are, and where that leads. What the length adds is one look-up table more.
        """
        kind, space, flags = header
        has_external = bool(self.c.external_words)

        def register(name: str, value) -> Signal:
            found = Signal(name=name, reset_less=True)
            m.d.sync += found.eq(value)
            return found

        def decided(name: str, values, value) -> Signal:
            return register(name, Cat(value == v for v in values).any())

        def known(name: str, spaces) -> Signal:
            return decided(name, (*spaces, Space.EXTERNAL) if has_external else spaces, space)

        writes, streams, reads, runs, stops = (
            decided(f"is_{k.name}", [k], kind)
            for k in (Kind.WRITE, Kind.STREAM, Kind.READ, Kind.RUN, Kind.STOP)
        )
        writable, readable = known("writable", WRITABLE), known("readable", READABLE)
        streamable = decided("streamable", STREAMED, space)
        row, is_register, external = (
            decided(f"is_{s.name}", [s], space)
            for s in (Space.ROW, Space.REGISTER, Space.EXTERNAL)
        )
        busy, unreachable = register("busy", self.running), Signal(reset_less=True)
        reach = Mux(row, (address >> self._row_reach()).any(), (address >> TABLE_BITS).any())
        if has_external:
            reach = Mux(external, (address >> address_bits(self.c)).any(), reach)

        # Where a packet leads that is not empty; where it is, to its end.
        written, streamed = writes & writable & ~(external & busy), streams & streamable
        leads = {
            "row": register("writes_row", written & row),
            "table": register("writes_table", written & ~row & ~external),
            "stream_row": register("streams_row", streamed & row),
            "stream_parameter": register("streams_parameter", streamed & ~row),
            "drop": register("ends_run", stops),
        }
        if has_external:
            leads["external"] = register("writes_external", written & external)
        to_read = register("to_read", reads & readable & (is_register | ~busy))
        to_run = register("to_run", runs & ~busy)
        to_fault = register(
            "to_fault",
            ~(written | streamed | stops | runs | reads & readable & (is_register | ~busy))
            | runs & busy,
        )
        generate = Signal(32, reset_less=True)  # belongs to `start`
        m.d.comb += self.generate.eq(generate)
        overwrites = register("overwriting", written & ~is_register)
        m.d.sync += self.overwrites.eq(at["check"] & overwrites)
        with m.If(at["length"]):
            m.d.sync += unreachable.eq(reach)
            with m.If(runs):
                m.d.sync += self.fault.payload.eq(
                    Mux(busy, Fault.RUN_BUSY, Fault.PROMPT_TOO_LONG)
                )
            with m.Elif((writes & writable) | (reads & readable)):
                m.d.sync += self.fault.payload.eq(Fault.RUN_BUSY)
            with m.Elif(writes | streams | reads):
                m.d.sync += self.fault.payload.eq(Fault.UNKNOWN_SPACE)
            with m.Else():
                m.d.sync += self.fault.payload.eq(Fault.UNKNOWN_KIND)

        with m.If(at["check"]):
            m.d.sync += [
                at["check"].eq(0),
                *(at[name].eq(led & ~empty) for name, led in leads.items()),
                at["end"].eq(Cat(leads.values()).any() & empty),
                at["read"].eq(to_read),
                at["prompt"].eq(to_run & ~unfit),
                at["fault"].eq(to_fault | (to_run & unfit)),
                beyond.eq(unreachable),
            ]
            with m.If(streams):
                m.d.sync += address.eq(0)  # counts from an entry's first word
            with m.If(to_run & ~unfit):
                m.d.sync += [
                    generate.eq(address),
                    self.reset_position.eq((flags & RunFlag.RESET).any()),
                    self.send_logits.eq((flags & RunFlag.LOGITS).any()),
                    self.stop.eq(0),
                ]
            with m.If(leads["drop"]):
                m.d.sync += self.stop.eq(1)
        return reads

    def _entry_bits(self) -> int:
        """Bits of a link word's place in a row of all cores."""
        return (self.c.cores * self.c.lanes // 4).bit_length() - 1

    def _row_reach(self) -> int:
        """Bits of a link word's address in row memory."""
        return self._entry_bits() + len(self.rows.payload.address)

    def _addresses(self, m: Module, at, take, taken, address, beyond) -> None:
        """Counts `address`, and looks where the addresses that a memory's writes reach end."""
        reaches = {"row": self._row_reach(), "table": TABLE_BITS}
        if self.c.external_words:
            reaches["external"] = address_bits(self.c)
        counted = address[: max(reaches.values())]
        with m.If(at["value"]):
            m.d.sync += address.eq(self.link.payload)
        with m.If(taken):
            m.d.sync += counted.eq(counted + 1)
        for name, bits in reaches.items():
            with m.If(take[name] & address[:bits].all()):
                m.d.sync += beyond.eq(1)

    def _payload(self, m: Module, at, take, taken, address, final, beyond) -> None:
        """Where the words of a payload go, and when they can."""
        c, word, come, rows = self.c, self.link.payload, self.link.valid, self.rows.payload
        m.submodules.prompts = prompts = PromptQueue(c.context, c.spare_blocks)
        connect(m, prompts.prompt, flipped(self.prompt))
        m.d.comb += [
            prompts.put.eq(take["prompt"]),
            prompts.token.eq(word),
            prompts.last.eq(final),
            self.prompt_last.eq(prompts.prompt_last),
        ]

        # Row writes: the word's place in its row, the core and the row are bit fields.
        row_words, entry_bits = c.lanes // 4, self._entry_bits()
        lane_bits = row_words.bit_length() - 1
        parameter_words = c.vector_lanes // 2
        in_parameter = address[: parameter_words.bit_length() - 1]
        to_row = (at["row"] & ~beyond) | (at["stream_row"] & self.row_ready)
        to_table = (at["table"] & ~beyond) | (at["stream_parameter"] & self.parameter_ready)
        m.d.comb += [
            self.rows.valid.eq(come & to_row),
            rows.address.eq(Mux(at["stream_row"], self.row_address, address[entry_bits:])),
            rows.cores.eq(1 << address[lane_bits:entry_bits]),
            rows.lanes.eq(Array(0xF << 4 * i for i in range(row_words))[address[:lane_bits]]),
            rows.spread.eq(0),
            *(rows.data[i].eq(word.word_select(i % 4, 8)) for i in range(len(rows.data))),
            self.row_done.eq(take["stream_row"] & address[:entry_bits].all()),
            self.tables.enable.eq(come & to_table),
            self.tables.space.eq(self.read.payload.space),
            self.tables.address.eq(
                Mux(at["stream_parameter"], Cat(in_parameter, self.parameter_address), address)
            ),
            self.tables.data.eq(word),
            self.parameter_done.eq(take["stream_parameter"] & in_parameter.all()),
        ]
        ready = {
            "row": self.rows.ready,
            "table": Const(1),
            "external": Const(0),
            "stream_row": self.row_ready & self.rows.ready,
            "stream_parameter": self.parameter_ready,
            "prompt": prompts.room,
            "drop": Const(1),
        }
        if c.external_words:
            external = self.external
            ready["external"] = external.ready | beyond
            m.d.comb += [
                external.payload.address.eq(address),
                external.payload.data.eq(word),
                external.valid.eq(come & at["external"] & ~beyond),
            ]
        taking = Cat(at[name] & ready[name] for name in PAYLOAD).any()
        m.d.comb += [
            *(take[name].eq(come & at[name] & ready[name]) for name in PAYLOAD),
            taken.eq(come & taking),
            self.link.ready.eq(at["kind"] | at["value"] | at["length"] | taking),
        ]
