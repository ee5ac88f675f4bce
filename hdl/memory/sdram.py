"""A controller for 16-bit SDR SDRAM that streams long bursts across banks without a gap."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out, Signature

from hdl.memory.external_port import memory_port
from hdl.memory.sdram_timing import SdramTiming, cycles

PIN_CYCLES = 2  # registers at the pins: one on the way to the chip, one on the way back
_FIFO_DEPTH = 16
_PRECHARGE_ALL = 1 << 10  # address bit


def sdram_signature(t: SdramTiming) -> Signature:
    """The chip's signals, seen from the controller; hdl.memory.sdram_pins registers them."""
    return Signature(
        {
            "cke": Out(1),
            "ras_n": Out(1, init=1),
            "cas_n": Out(1, init=1),
            "we_n": Out(1, init=1),
            "bank": Out(t.bank_bits),
            "address": Out(t.row_bits),
            "dqm": Out(t.data_bits // 8),
            "data_out": Out(t.data_bits),
            "data_enable": Out(1),
            "data_in": In(t.data_bits),
        }
    )


class SdramController(Component):
    """Executes bursts of 32-bit words (hdl.memory.external_port.memory_port) on an SDR SDRAM.

    A word is a burst of two: READ and WRITE go out in every other cycle, the cycles between them
    are for rows. Words lie in the order column, bank, row. In the second half of a row the next
    bank's row is opened, so a burst that crosses rows loses no cycle, and a burst that goes on
    where the last one ended loses none either. `refreshes_together` refreshes are made at a time,
    sooner when nothing else is to do.

    No READ leaves without room for its word, which is offered CAS latency + 5 cycles later.
    `flush` (a pulse) forgets bursts and words on their way, not the memory's contents.
    """

    def __init__(self, timing: SdramTiming, clock_hz: float, refreshes_together: int = 4) -> None:
        self.timing, self.clock_hz = timing, clock_hz
        self.refreshes_together = refreshes_together
        self.bits = timing.row_bits + timing.bank_bits + timing.column_bits - 1
        super().__init__(
            {
                "memory": In(memory_port(self.bits)),
                "flush": In(1),
                "sdram": Out(sdram_signature(timing)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t = self.timing
        self._rp, self._rfc = self._cycles(t.t_rp), self._cycles(t.t_rfc)
        self._wr = max(2, self._cycles(t.t_wr))
        ras = max(self._cycles(t.t_ras), self._cycles(t.t_rc) - self._rp, self._cycles(t.t_rrd))
        self._ras, self._rcd = ras, max(0, self._cycles(t.t_rcd) - 2)

        # The burst under way, and which rows are open: `here` is that of `address`, `ahead` the
        # next one in the order of words, `behind` the last one, each in a bank of its own; `stale`:
        # any other.
        self._address, self._left, self._writing = Signal(self.bits), Signal(self.bits), Signal()
        self._active = Signal()
        self._here, self._here_ready, self._ahead, self._behind, self._stale = (
            Signal(name=name) for name in ("here", "here_ready", "ahead", "behind", "stale")
        )
        self._ready = Signal()  # the mode register is loaded
        self._slot = Signal()  # 0: READ or WRITE, 1: rows
        # Cycles until: a row command may go; an opened row is ready; words written are in the chip.
        self._timer = Signal(range(max(self._rp, self._rfc, ras, self._wr, t.t_mrd) + 1))
        self._opening, self._recent = Signal(range(self._rcd + 1)), Signal(range(self._wr + 1))
        m.d.sync += self._slot.eq(~self._slot)
        for count in (self._timer, self._opening, self._recent):
            m.d.sync += count.eq(Mux(count == 0, 0, count - 1))

        most = t.first_refreshes + self.refreshes_together
        self._owed = Signal(range(most + 1))  # refreshes that are due
        self._access(m, self._owed >= self.refreshes_together)
        self._accept(m)
        self._rows(m)
        return m

    def _cycles(self, nanoseconds: float) -> int:
        return cycles(nanoseconds, self.clock_hz)

    @property
    def _columns(self) -> int:
        return self.timing.column_bits - 1  # address bits of a word within its row

    @property
    def _row(self):
        """Bank (lowest) and row of `address`."""
        return self._address[self._columns :]

    def _access(self, m: Module, pause) -> None:
        """READ and WRITE commands, and the words that come back, their lower half first."""
        t, sdram, port = self.timing, self.sdram, self.memory
        read, write, second, possible = Signal(), Signal(), Signal(), Signal()
        outstanding = Signal(range(_FIFO_DEPTH + 1))  # words asked for and not yet taken
        flight = Signal(t.cas_latency + PIN_CYCLES + 2)
        low = Signal(t.data_bits)
        row_ends = self._address[: self._columns].all()
        words = SyncFIFO(width=32, depth=_FIFO_DEPTH)
        m.submodules.words = ResetInserter(self.flush)(words)
        m.d.comb += [
            possible.eq(
                ~self._slot & self._active & self._here_ready & ~pause
                & ~(row_ends & self._behind)
            ),
            read.eq(possible & ~self._writing & (outstanding != _FIFO_DEPTH)),
            write.eq(possible & self._writing & port.write.valid & ~flight.any()),
            words.w_data.eq(Cat(low, sdram.data_in)),
            words.w_en.eq(flight[-1]),
            port.read.payload.eq(words.r_data),
            port.read.valid.eq(words.r_rdy),
            words.r_en.eq(port.read.ready),
            port.write.ready.eq(second),
        ]  # fmt: skip
        data = port.write.payload
        m.d.sync += [
            low.eq(sdram.data_in),
            flight.eq(Cat(read, flight)),
            outstanding.eq(outstanding + read - (port.read.valid & port.read.ready)),
            second.eq(write),
            Cat(sdram.ras_n, sdram.cas_n, sdram.we_n).eq(0b111),
            sdram.data_out.eq(Mux(second, data[t.data_bits :], data[: t.data_bits])),
            sdram.data_enable.eq(write | second),
            sdram.cke.eq(1),
            sdram.dqm.eq(Mux(self._ready, 0, ~0)),
            self._here_ready.eq(self._here & (self._here_ready | (self._opening == 0))),
        ]
        with m.If(read | write):
            m.d.sync += [
                sdram.cas_n.eq(0),
                sdram.we_n.eq(~write),
                sdram.bank.eq(self._row[: t.bank_bits]),
                sdram.address.eq(Cat(Const(0, 1), self._address[: self._columns])),
                self._address.eq(self._address + 1),
                self._left.eq(self._left - 1),
                self._active.eq(self._left != 1),
                self._recent.eq(self._wr),
            ]
            with m.If(row_ends):
                m.d.sync += [
                    self._here.eq(self._ahead),
                    self._here_ready.eq(self._ahead & (self._opening == 0)),
                    self._ahead.eq(0),
                    self._behind.eq(1),
                    self._timer.eq(max(self._wr, self._ras)),
                ]
        with m.If(self.flush):
            m.d.sync += [self._active.eq(0), flight.eq(0), outstanding.eq(0)]

    def _accept(self, m: Module) -> None:
        """A new burst. Rows stay open where it begins in the row that the last one reached."""
        port = self.memory.request
        m.d.comb += port.ready.eq(self._slot & ~self._active & self._ready & ~self.flush)
        with m.If(port.valid & port.ready):
            m.d.sync += [
                self._address.eq(port.payload.address),
                self._left.eq(port.payload.length),
                self._writing.eq(port.payload.write),
                self._active.eq(1),
            ]
            opened = Cat(self._here, self._ahead, self._behind)
            with m.If(port.payload.address[self._columns :] != self._row):
                m.d.sync += [
                    self._stale.eq(self._stale | opened.any()),
                    Cat(opened, self._here_ready).eq(0),
                ]

    def _rows(self, m: Module) -> None:
        """Power-up, refreshes, and the rows that are opened and closed."""
        t, sdram = self.timing, self.sdram
        interval = int(t.refresh_interval * self.clock_hz / 1e9)
        power_up = -(-self._cycles(t.power_up) // interval) + 1
        passed, tick, waited = Signal(range(interval)), Signal(), Signal(range(power_up + 1))
        refreshed = Signal()
        m.d.comb += tick.eq(passed == interval - 1)
        m.d.sync += [
            passed.eq(Mux(tick, 0, passed + 1)),
            self._owed.eq(self._owed + tick - refreshed),
        ]
        row = self._row
        following = row + 1

        def command(ras: int, cas: int, we: int, wait: int, bank=0, address=0) -> None:
            m.d.sync += [
                Cat(sdram.ras_n, sdram.cas_n, sdram.we_n).eq(Const(ras | cas << 1 | we << 2, 3)),
                sdram.bank.eq(bank),
                sdram.address.eq(address),
                self._timer.eq(wait - 1),
            ]

        def precharge(bank=0, address=0) -> None:
            command(0, 1, 0, self._rp, bank, address)

        def activate(which) -> None:
            command(0, 1, 1, self._ras, which[: t.bank_bits], which[t.bank_bits :])
            m.d.sync += self._opening.eq(self._rcd)

        def close() -> None:
            precharge(0, _PRECHARGE_ALL)
            opened = Cat(self._here, self._here_ready, self._ahead, self._behind, self._stale)
            m.d.sync += opened.eq(0)

        may = Signal()
        due = (self._owed >= self.refreshes_together) | ((self._owed != 0) & ~self._active)
        m.d.comb += may.eq(self._slot & (self._timer == 0))
        with m.FSM():
            with m.State("POWER_UP"):
                m.d.sync += waited.eq(waited + tick)
                with m.If(may & (waited == power_up)):
                    close()
                    m.d.sync += self._owed.eq(t.first_refreshes)
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(may & (self._owed != 0)):
                    command(0, 0, 1, self._rfc)
                    m.d.comb += refreshed.eq(1)
                with m.Elif(may):
                    m.next = "ROWS"
                    with m.If(~self._ready):  # bursts of two
                        command(0, 0, 0, t.t_mrd, address=1 | t.cas_latency << 4)
                        m.d.sync += self._ready.eq(1)
            with m.State("ROWS"):
                with m.If(may & due):
                    with m.If(self._recent == 0):
                        close()
                        m.next = "REFRESH"
                with m.Elif(may & self._active):
                    with m.If(self._stale):
                        with m.If(self._recent == 0):
                            close()
                    with m.Elif(~self._here):
                        activate(row)
                        m.d.sync += self._here.eq(1)
                    with m.Elif(self._behind):
                        precharge((row - 1)[: t.bank_bits])
                        m.d.sync += self._behind.eq(0)
                    with m.Elif(~self._ahead & self._address[self._columns - 1]):
                        activate(following[: len(row)])
                        m.d.sync += self._ahead.eq(1)
