"""Synapse core: every address event adds or subtracts one row into P accumulators."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from hdl.lib.copies import copy_of
from hdl.lib.ecp5 import carry_sum, choose, select
from hdl.lib.pipeline import Pipeline, Stages
from hdl.lib.shapes import event_layout
from hdl.memory.rows import READ_LATENCY, ROW_ADDRESS_BITS, WEIGHT_BITS, columns
from isa.configurations import Configuration

AMPLITUDE_BITS = 3
TERM_BITS = WEIGHT_BITS + 3  # a weight shifted by the lower two bits of the amplitude
LANES_A_CONTROL = 8  # columns that share a copy of the registers that steer them
STAGES = Stages(
    event=0,  # it is taken, and its row asked for
    row=READ_LATENCY,
    term=1,  # the row's weights, shifted and signed: added at the end of this cycle
)
"""The way of an event."""
COPY_LATENCY = STAGES["term"] + 1
"""Cycles from the transfer of a tile's end to `full`."""
WORD_LATENCY = 3
"""Cycles from a word's number to the word: registers for the number near the lanes, for a group's
word, for the word."""
_GROUP = 8  # words that are chosen among in a cycle: what a tile's multiplexers hold


class SynapseCore(wiring.Component):
    """acc[l] += (row[l] << amplitude), or -= for a negative event, one event a cycle.

    An `end` event closes a tile: COPY_LATENCY cycles after it is taken `full` is set and the
    shadow registers hold the tile's sums, while the next tile's events gather already. The next
    `end` waits until `free` has been pulsed; nothing else ever waits. `holds`: `full` is set, or
    will be in the next cycle. The WORD_LATENCY cycles after `free` still read the old tile.

    A negative event adds the complement of its term, which is one too little; `correction` is the
    number of such events, so that sum = word + correction, modulo 2**accumulator_bits. word[j] is
    lane V * read_word + j without its correction, WORD_LATENCY cycles after read_word; correction
    holds while `full` is set.

    row_enable, row_address -> row_data (P bytes) hdl.memory.rows.READ_LATENCY cycles later.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "events": In(stream.Signature(event_layout(c))),
                "row_enable": Out(1),
                "row_address": Out(ROW_ADDRESS_BITS),
                "row_data": In(unsigned(c.lanes * WEIGHT_BITS)),
                "full": Out(1),
                "holds": Out(1),
                "free": In(1),
                "read_word": In(range(c.lanes // c.vector_lanes)),
                "word": Out(ArrayLayout(signed(c.accumulator_bits), c.vector_lanes)),
                "correction": Out(c.accumulator_bits),
            }
        )

    def elaborate(self, platform):
        c = self.c
        m = Module()
        event = self.events.payload
        waiting = Signal()  # an end was taken and its tile is not freed yet
        taken = self.events.valid & self.events.ready
        spike = taken & ~event.end
        m.d.comb += [
            self.events.ready.eq(~(event.end & waiting)),
            self.row_enable.eq(spike),
            self.row_address.eq(event.row),
        ]
        with m.If(taken & event.end):
            m.d.sync += waiting.eq(1)
        with m.Elif(self.free):
            m.d.sync += waiting.eq(0)

        pipeline = Pipeline(m, STAGES)
        adds = pipeline.carry(spike, "event", name="adds", reset=True)
        ends = pipeline.carry(taken & event.end, "event", name="ends", reset=True)
        negative = pipeline.carry(event.negative, "event", name="negative")
        amplitude = pipeline.carry(event.amplitude, "event", name="amplitude")

        # What clears the totals also does so after a reset: so they need none, nor their copies of
        # this, which lie all along the row.
        clears = Signal(init=1)  # with the row
        m.d.sync += clears.eq(ends["row", -1])
        shadows, order = {}, columns(c)
        for first in range(0, c.lanes, LANES_A_CONTROL):
            shadows |= self._lanes(
                m, platform, order[first : first + LANES_A_CONTROL], adds["row"], clears,
                negative["row", -1], amplitude["row", -1],
            )  # fmt: skip

        complements = Signal(c.accumulator_bits, reset_less=True)
        shadow_complements = Signal(c.accumulator_bits, reset_less=True)
        m.d.comb += self.holds.eq(ends["term"] | self.full)
        m.d.sync += self.full.eq(self.holds & ~self.free)
        cleared = Signal(init=1)  # with the term, and after a reset
        m.d.sync += cleared.eq(clears)
        with m.If(cleared):
            m.d.sync += [shadow_complements.eq(complements), complements.eq(0)]
        with m.Elif(adds["term"] & negative["term"]):
            m.d.sync += complements.eq(complements + 1)
        m.d.comb += self.correction.eq(shadow_complements)
        for lane in range(c.vector_lanes):
            element = [shadows[k] for k in range(lane, c.lanes, c.vector_lanes)]
            word = self._word(m, platform, element, lane)
            m.d.sync += self.word[lane].eq(word.as_signed())
        return m

    def _word(self, m: Module, platform, words: list, lane: int) -> Value:
        """words[read_word], WORD_LATENCY - 1 cycles later. They lie all along a row of block RAM:
        so a group's word is chosen near the group first."""
        low = (min(len(words), _GROUP) - 1).bit_length()
        high = Signal(len(self.read_word), name=f"group_{lane}", reset_less=True)
        m.d.sync += high.eq(self.read_word)
        chosen = []
        for first in range(0, len(words), _GROUP):
            index = copy_of(m, self.read_word, f"index_{lane}_{first}")
            word = Signal(self.c.accumulator_bits, name=f"word_{lane}_{first}", reset_less=True)
            m.d.sync += word.eq(select(m, platform, words[first : first + _GROUP], index))
            chosen.append(word)
        which = Signal(max(1, len(high) - low), name=f"which_{lane}", reset_less=True)
        m.d.sync += which.eq(high[low:])
        return select(m, platform, chosen, which)

    def _lanes(self, m: Module, platform, lanes: list[int], add, end, negative,
               amplitude) -> dict[int, Signal]:  # fmt: skip
        """Shadow registers of some lanes, steered by copies of the controls of their own.

        `add` and `end` come with the row, `negative` and `amplitude` a cycle before it. The weight
        is shifted by up to three on its way into the term, and by four more on its way into the
        adder, whose tables have room for that.
        """

        def control(value, name: str) -> Signal:
            return copy_of(m, value, f"{name}_{lanes[0]}")

        bits = self.c.accumulator_bits
        inverted, shift = control(negative, "inverted"), control(amplitude, "shift")
        fill, high = control(inverted, "fill"), control(shift[-1], "high")
        adds, ends = control(add, "adds"), control(end, "ends")
        shadows = {}
        for lane in lanes:
            weight = self.row_data.word_select(lane, WEIGHT_BITS)
            term = Signal(TERM_BITS, name=f"term_{lane}", reset_less=True)
            total = Signal(bits, name=f"total_{lane}", reset_less=True)
            shadow = Signal(bits, name=f"shadow_{lane}", reset_less=True)
            once = _shifted(weight ^ inverted.replicate(WEIGHT_BITS), 1, shift[0], inverted)
            m.d.sync += term.eq(_shifted(once, 2, shift[1], inverted))
            # Beyond the shifted term both are its sign: there is nothing to choose, and inputs at
            # 1 need no wire.
            ones = Const(-1, bits)
            near = Cat(term, term[-1].replicate(4), ones)[:bits]
            far = Cat(fill.replicate(4), term, term[-1].replicate(bits))[:bits]
            shifts = Cat(high.replicate(TERM_BITS + 4), ones)[:bits]
            following = carry_sum(m, platform, total, choose, shifts, far, near)
            with m.If(ends):
                m.d.sync += [shadow.eq(total), total.eq(0)]
            with m.Elif(adds):
                m.d.sync += total.eq(following)
            shadows[lane] = shadow
        return shadows


def _shifted(value, amount: int, enable, fill) -> Value:
    """value times 2**amount with `enable`; where `fill` is set both are one's complements."""
    wide = Cat(value, value[-1].replicate(amount))
    return Mux(enable, Cat(fill.replicate(amount), value), wide)
