"""Receiver: host packets (isa/packets.py) become memory writes, ring entries, reads and runs."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.shapes import TOKEN_BITS, row_write_layout, table_write
from hdl.lib.states import OneHot
from hdl.link.packet_check import LEADS, PacketCheck, entry_bits, reaches
from hdl.link.payload_count import PayloadCount
from hdl.link.prompt_queue import PromptQueue
from hdl.memory.external_port import address_bits, word_write_layout
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.memory.tables import PARAMETER_ADDRESS_BITS
from isa.configurations import Configuration
from isa.packets import HEADER_WORDS, Fault, RunFlag

PAYLOAD = (*LEADS, "prompt")  # states in which words of a payload are taken
STATES = ("kind", "value", "length", "check", *PAYLOAD, "fault", "read", "start", "end")
HEADER_CYCLES = HEADER_WORDS + 1  # the words of a header, and the one in which it is looked at
END_CYCLES = 1  # behind the last word of a payload


def read_request_layout() -> StructLayout:
    """A READ packet for the transmitter: memory, first link word, how many."""
    return StructLayout({"space": unsigned(8), "address": unsigned(32), "length": unsigned(32)})


def _external(c: Configuration) -> dict:
    if not c.external_words:
        return {}
    return {"external": Out(stream.Signature(word_write_layout(address_bits(c))))}


class Receiver(Component):
    """Takes link words, one a cycle, except where a ring is full or a read is in progress.

    A packet takes HEADER_CYCLES, one cycle a payload word and END_CYCLES (a prompt, rows, tables
    alike). rows: writes of four lanes of one core; external: words for external memory, where there
    is one; tables: every other memory, `tables.address` counted in link words. Words beyond what
    these addresses reach are dropped here; a memory drops what is beyond its own end.

    Ring entries (STREAM) go where `row_address` / `parameter_address` say, while `row_ready` /
    `parameter_ready`; `row_done` / `parameter_done` are set in the cycle in which an entry's last
    word is written. Address and ready may change in the cycle after, not within an entry. What is
    left of a packet behind its last whole entry is not announced; the next packet overwrites it.

    `start` is a pulse once the whole prompt is in the queue; `reset_position`, `send_logits` and
    `generate` then belong to this run. `stop` stays set from STOP to the next RUN.

    `overwrites` is set for a cycle when a WRITE to anything but registers begins. `running` is seen
    as late as hdl.link.packet_check says.

    READ and a fault wait for the transmitter. Between the STREAM packets of one position a host
    therefore must not READ: logits on their way could need the rows that wait behind it.

    What a header says is decided while it comes, so that a word is taken behind few look-up tables:
    each state has its own condition for it, and most have none but `link.valid`.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                **_external(c),
                "link": In(stream.Signature(unsigned(32))),
                "rows": Out(stream.Signature(row_write_layout(c))),
                "tables": Out(table_write()),
                "row_address": In(ROW_ADDRESS_BITS),
                "row_ready": In(1),
                "row_done": Out(1),
                "parameter_address": In(PARAMETER_ADDRESS_BITS),
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
        at = OneHot(*STATES, name="at")
        m.submodules.check = check = PacketCheck(self.c)
        m.submodules.prompts = prompts = PromptQueue(self.c.context, self.c.spare_blocks)
        # No data register has a reset: each is written before it is read.
        kind, space = Signal(8, reset_less=True), Signal(8, reset_less=True)
        flags = Signal(16, reset_less=True)
        address = Signal(32, reset_less=True)
        beyond = Signal(reset_less=True)  # no address reaches this word of a WRITE, nor those after
        unfit = Signal(reset_less=True)  # no prompt's length
        word, come = self.link.payload, self.link.valid
        take = {name: Signal(name=f"take_{name}") for name in PAYLOAD}  # a word, in this state
        taken = Signal()
        left = PayloadCount(m, at.length, word, at.length, taken)
        m.d.comb += [
            check.kind.eq(kind),
            check.space.eq(space),
            check.address.eq(address),
            check.decide.eq(at.length),
            check.running.eq(self.running),
            self.fault.valid.eq(at.fault),
            self.fault.payload.eq(check.fault),
            self.read.valid.eq(at.read),
            self.read.payload.space.eq(space),
            self.read.payload.address.eq(address),
            self.read.payload.length.eq(left.left),
            self.start.eq(at.start),
        ]
        with m.If(at.kind & come):
            m.d.sync += [Cat(kind, space, flags).eq(word), at.go("kind", "value")]
        with m.If(at.value & come):
            m.d.sync += at.go("value", "length")
        with m.If(at.length & come):
            m.d.sync += at.go("length", "check")
        with m.If(at.length):
            m.d.sync += unfit.eq((word == 0) | (word > self.c.context))
        self._lead(m, at, check, left.empty, unfit, beyond)
        self._begin(m, at, check, unfit, address, flags)
        self._addresses(m, at, take, taken, address, beyond)
        self._end(m, at, taken & left.final, left.empty | check.is_read)
        self._rows(m, at, take, address, beyond)
        self._tables(m, at, take, space, address, beyond)
        connect(m, prompts.prompt, flipped(self.prompt))
        m.d.comb += [
            prompts.put.eq(take["prompt"]),
            prompts.token.eq(word),
            prompts.last.eq(left.final),
            self.prompt_last.eq(prompts.prompt_last),
        ]
        self._take(m, at, take, taken, prompts.room, self._external_ready(m, at, address, beyond))
        return m

    def _lead(self, m: Module, at: OneHot, check: PacketCheck, empty, unfit, beyond) -> None:
        """From the header to the payload, or to what there is without one."""
        leads = {name: getattr(check, f"to_{name}") for name in LEADS}
        with m.If(at.check):
            m.d.sync += [
                at.check.eq(0),
                *(getattr(at, name).eq(led & ~empty) for name, led in leads.items()),
                at.end.eq(Cat(leads.values()).any() & empty),
                at.read.eq(check.reads),
                at.prompt.eq(check.runs & ~unfit),
                at.fault.eq(check.fails | (check.runs & unfit)),
                beyond.eq(check.beyond),
            ]

    def _begin(self, m: Module, at: OneHot, check: PacketCheck, unfit, address, flags) -> None:
        """What a RUN, a STOP and a WRITE say to the device."""
        generate = Signal(32, reset_less=True)  # belongs to `start`
        m.d.comb += self.generate.eq(generate)
        m.d.sync += self.overwrites.eq(at.check & check.overwrites)
        with m.If(at.check & check.runs & ~unfit):
            m.d.sync += [
                generate.eq(address),
                self.reset_position.eq((flags & RunFlag.RESET).any()),
                self.send_logits.eq((flags & RunFlag.LOGITS).any()),
                self.stop.eq(0),
            ]
        with m.If(at.check & check.to_drop):
            m.d.sync += self.stop.eq(1)
        with m.If(at.check & check.is_stream):
            m.d.sync += address.eq(0)  # counts from an entry's first word

    def _addresses(self, m: Module, at: OneHot, take: dict, taken, address, beyond) -> None:
        """Counts `address`, and looks where the addresses that a memory's writes reach end."""
        counted = address[: max(reaches(self.c).values())]
        with m.If(at.value):
            m.d.sync += address.eq(self.link.payload)
        with m.If(taken):
            m.d.sync += counted.eq(counted + 1)
        for name, bits in reaches(self.c).items():
            with m.If(take[name] & address[:bits].all()):
                m.d.sync += beyond.eq(1)

    def _end(self, m: Module, at: OneHot, last, without_payload) -> None:
        """Behind the last word of a payload, and behind a fault, whose payload is dropped."""
        with m.If(last):
            m.d.sync += [
                *(getattr(at, name).eq(0) for name in PAYLOAD),
                at.start.eq(at.prompt), at.end.eq(~at.prompt),
            ]  # fmt: skip
        with m.If(at.fault & self.fault.ready):
            m.d.sync += at.fault.eq(0)
            with m.If(without_payload):
                m.d.sync += at.end.eq(1)
            with m.Else():
                m.d.sync += at.drop.eq(1)
        with m.If(at.read & self.read.ready):
            m.d.sync += at.go("read", "kind")
        for name in ("start", "end"):
            with m.If(getattr(at, name)):
                m.d.sync += at.go(name, "kind")

    def _rows(self, m: Module, at: OneHot, take: dict, address, beyond) -> None:
        """Row writes. Fields of the address are the word's place in its row, the core, the row."""
        word, rows = self.link.payload, self.rows.payload
        row_words, bits = self.c.lanes // 4, entry_bits(self.c)
        lane_bits = row_words.bit_length() - 1
        to_row = (at.row & ~beyond) | (at.stream_row & self.row_ready)
        m.d.comb += [
            self.rows.valid.eq(self.link.valid & to_row),
            rows.address.eq(Mux(at.stream_row, self.row_address, address[bits:])),
            rows.cores.eq(1 << address[lane_bits:bits]),
            rows.lanes.eq(Array(0xF << 4 * i for i in range(row_words))[address[:lane_bits]]),
            rows.spread.eq(0),
            *(rows.data[i].eq(word.word_select(i % 4, 8)) for i in range(len(rows.data))),
            self.row_done.eq(take["stream_row"] & address[:bits].all()),
        ]

    def _tables(self, m: Module, at: OneHot, take: dict, space, address, beyond) -> None:
        """Every other memory, and entries of the parameter ring."""
        in_parameter = address[: (self.c.vector_lanes // 2).bit_length() - 1]
        to_table = (at.table & ~beyond) | (at.stream_parameter & self.parameter_ready)
        m.d.comb += [
            self.tables.enable.eq(self.link.valid & to_table),
            self.tables.space.eq(space),
            self.tables.address.eq(
                Mux(at.stream_parameter, Cat(in_parameter, self.parameter_address), address)
            ),
            self.tables.data.eq(self.link.payload),
            self.parameter_done.eq(take["stream_parameter"] & in_parameter.all()),
        ]

    def _external_ready(self, m: Module, at: OneHot, address, beyond):
        """Words for external memory; whether one is taken."""
        if not self.c.external_words:
            return Const(0)
        external = self.external
        m.d.comb += [
            external.payload.address.eq(address),
            external.payload.data.eq(self.link.payload),
            external.valid.eq(self.link.valid & at.external & ~beyond),
        ]
        return external.ready | beyond

    def _take(self, m: Module, at: OneHot, take: dict, taken, room, external_ready) -> None:
        """When a word of a payload is taken, by where it goes; those of a header always are."""
        ready = {
            "row": self.rows.ready,
            "table": Const(1),
            "external": external_ready,
            "stream_row": self.row_ready & self.rows.ready,
            "stream_parameter": self.parameter_ready,
            "prompt": room,
            "drop": Const(1),
        }
        states = {name: getattr(at, name) for name in PAYLOAD}
        taking = Cat(state & ready[name] for name, state in states.items()).any()
        m.d.comb += [
            *(take[name].eq(self.link.valid & states[name] & ready[name]) for name in PAYLOAD),
            taken.eq(self.link.valid & taking),
            self.link.ready.eq(at.kind | at.value | at.length | taking),
        ]
