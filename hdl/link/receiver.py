"""Receiver: host packets (isa/packets.py) become memory writes, ring entries, reads and runs."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import fifo, stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import TOKEN_BITS, row_write_layout, table_write
from hdl.memory.external import address_bits, word_write_layout
from isa.configurations import Configuration
from isa.packets import Fault, Kind, RunFlag, Space

READABLE = (Space.ROW, Space.VECTOR, Space.REGISTER)
WRITABLE = tuple(s for s in Space if s not in (Space.VECTOR, Space.EXTERNAL))
STREAMED = (Space.ROW, Space.PARAMETER)


def read_request_layout() -> StructLayout:
    """A READ packet for the transmitter: memory, first link word, how many."""
    return StructLayout({"space": unsigned(8), "address": unsigned(32), "length": unsigned(32)})


def _external(c: Configuration) -> dict:
    bits = address_bits(c)
    return {"external": Out(stream.Signature(word_write_layout(bits)))} if bits else {}


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

    `overwrites` is set while a WRITE to anything but registers goes on.

    READ and a fault wait for the transmitter. Between the STREAM packets of one position a host
    therefore must not READ: logits on their way could need the rows that wait behind it.
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
        c = self.c
        kind, space, flags = Signal(8), Signal(8), Signal(16)
        value, length = Signal(32), Signal(32)
        left, address = Signal(32), Signal(33)  # an address may not wrap to the memory's begin
        fault = Signal(Fault)
        word = self.link.payload

        m.submodules.prompts = prompts = fifo.SyncFIFO(
            width=TOKEN_BITS + 1, depth=c.context
        )
        m.d.comb += [
            self.prompt.payload.eq(prompts.r_data[:TOKEN_BITS]),
            self.prompt_last.eq(prompts.r_data[TOKEN_BITS]),
            self.prompt.valid.eq(prompts.r_rdy),
            prompts.r_en.eq(self.prompt.ready),
            prompts.w_data.eq(Cat(word[:TOKEN_BITS], left == 1)),
            self.fault.payload.eq(fault),
            self.read.payload.space.eq(space),
            self.read.payload.address.eq(value),
            self.read.payload.length.eq(length),
        ]

        # Row writes: the word's place in its row, the core and the row are bit fields.
        row_words, cores = c.lanes // 4, c.cores
        lane_bits, core_bits = row_words.bit_length() - 1, cores.bit_length() - 1
        entry_bits = lane_bits + core_bits
        streamed, beyond = Signal(), Signal()
        place = address[:lane_bits]
        core = address[lane_bits:entry_bits]
        payload = self.rows.payload
        m.d.comb += [
            streamed.eq(kind == Kind.STREAM),
            beyond.eq(
                Mux(
                    space == Space.ROW,
                    address[entry_bits:] >> len(payload.address),
                    address >> len(self.tables.address),
                ).any()
            ),
            payload.address.eq(Mux(streamed, self.row_address, address[entry_bits:])),
            payload.cores.eq(1 << core),
            payload.lanes.eq(Array(0xF << 4 * i for i in range(row_words))[place]),
            payload.spread.eq(0),
            self.tables.data.eq(word),
            self.tables.space.eq(space),
        ]
        for i in range(c.vector_lanes):
            m.d.comb += payload.data[i].eq(word.word_select(i % 4, 8))

        parameter_words = c.vector_lanes // 2
        parameter_bits = parameter_words.bit_length() - 1
        in_parameter = address[:parameter_bits]
        ringed = Cat(in_parameter, self.parameter_address)
        m.d.comb += self.tables.address.eq(
            Mux(streamed & (space == Space.PARAMETER), ringed, address)
        )

        def fail(reason: Fault) -> None:
            m.d.sync += fault.eq(reason)
            m.next = "FAULT"

        has_external = bool(c.external_words)

        def known(spaces) -> Signal:
            spaces += (Space.EXTERNAL,) if has_external and spaces is not STREAMED else ()
            return Cat(space == s for s in spaces).any()

        with m.FSM():
            with m.State("KIND"):
                m.d.comb += self.link.ready.eq(1)
                with m.If(self.link.valid):
                    m.d.sync += Cat(kind, space, flags).eq(word)
                    m.next = "VALUE"
            with m.State("VALUE"):
                m.d.comb += self.link.ready.eq(1)
                with m.If(self.link.valid):
                    m.d.sync += [value.eq(word), address.eq(word)]
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.comb += self.link.ready.eq(1)
                with m.If(self.link.valid):
                    m.d.sync += [length.eq(word), left.eq(word)]
                    m.next = "CHECK"
            with m.State("CHECK"):
                with m.Switch(kind):
                    with m.Case(Kind.WRITE):
                        m.next = "WRITE"
                        with m.If(~known(WRITABLE)):
                            fail(Fault.UNKNOWN_SPACE)
                        if has_external:
                            with m.Elif((space == Space.EXTERNAL) & self.running):
                                fail(Fault.RUN_BUSY)
                    with m.Case(Kind.STREAM):
                        m.d.sync += address.eq(0)
                        m.next = "STREAM"
                        with m.If(~known(STREAMED)):
                            fail(Fault.UNKNOWN_SPACE)
                    with m.Case(Kind.READ):
                        m.d.sync += left.eq(0)
                        m.next = "READ"
                        with m.If(~known(READABLE)):
                            fail(Fault.UNKNOWN_SPACE)
                        with m.Elif((space != Space.REGISTER) & self.running):
                            fail(Fault.RUN_BUSY)
                    with m.Case(Kind.RUN):
                        with m.If(self.running):
                            fail(Fault.RUN_BUSY)
                        with m.Elif((length == 0) | (length > c.context)):
                            fail(Fault.PROMPT_TOO_LONG)
                        with m.Else():
                            m.d.sync += [
                                self.generate.eq(value),
                                self.reset_position.eq((flags & RunFlag.RESET).any()),
                                self.send_logits.eq((flags & RunFlag.LOGITS).any()),
                                self.stop.eq(0),
                            ]
                            m.next = "RUN"
                    with m.Case(Kind.STOP):
                        m.d.sync += self.stop.eq(1)
                        m.next = "DROP"
                    with m.Default():
                        fail(Fault.UNKNOWN_KIND)
            with m.State("FAULT"):
                m.d.comb += self.fault.valid.eq(1)
                with m.If(self.fault.ready):
                    m.next = "DROP"
            with m.State("DROP"):  # payload that nobody wants
                with m.If(left == 0):
                    m.next = "KIND"
                with m.Else():
                    m.d.comb += self.link.ready.eq(1)
                    with m.If(self.link.valid):
                        m.d.sync += left.eq(left - 1)
            with m.State("WRITE"):
                m.d.comb += self.overwrites.eq(space != Space.REGISTER)
                with m.If(left == 0):
                    m.next = "KIND"
                if has_external:
                    with m.Elif(space == Space.EXTERNAL):
                        self._write_external(m, address)
                with m.Elif(beyond):
                    m.d.comb += self.link.ready.eq(1)
                with m.Elif(space == Space.ROW):
                    m.d.comb += [
                        self.rows.valid.eq(self.link.valid),
                        self.link.ready.eq(self.rows.ready),
                    ]
                with m.Else():
                    m.d.comb += [self.tables.enable.eq(self.link.valid), self.link.ready.eq(1)]
                with m.If(self.link.valid & self.link.ready):
                    m.d.sync += [left.eq(left - 1), address.eq(address + 1)]
            with m.State("STREAM"):
                room = Mux(space == Space.ROW, self.row_ready, self.parameter_ready)
                with m.If(left == 0):
                    m.next = "KIND"
                with m.Elif(room):
                    with m.If(space == Space.ROW):
                        m.d.comb += [
                            self.rows.valid.eq(self.link.valid),
                            self.link.ready.eq(self.rows.ready),
                        ]
                    with m.Else():
                        m.d.comb += [self.tables.enable.eq(self.link.valid), self.link.ready.eq(1)]
                with m.If(self.link.valid & self.link.ready):
                    m.d.sync += [left.eq(left - 1), address.eq(address + 1)]
                    with m.If(space == Space.ROW):
                        with m.If(address[:entry_bits] == (1 << entry_bits) - 1):
                            m.d.comb += self.row_done.eq(1)
                    with m.Elif(in_parameter == parameter_words - 1):
                        m.d.comb += self.parameter_done.eq(1)
            with m.State("READ"):
                m.d.comb += self.read.valid.eq(1)
                with m.If(self.read.ready):
                    m.next = "KIND"
            with m.State("RUN"):
                m.d.comb += [
                    prompts.w_en.eq(self.link.valid & (left != 0)),
                    self.link.ready.eq(prompts.w_rdy & (left != 0)),
                ]
                with m.If(self.link.valid & self.link.ready):
                    m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.comb += self.start.eq(1)
                    m.next = "KIND"
        return m

    def _write_external(self, m: Module, address) -> None:
        word = self.external.payload
        inside = (address >> len(word.address)) == 0
        m.d.comb += [
            word.address.eq(address),
            word.data.eq(self.link.payload),
            self.external.valid.eq(self.link.valid & inside),
            self.link.ready.eq(self.external.ready | ~inside),
        ]
