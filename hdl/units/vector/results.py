"""The vector unit's results on their way out: clipped, queued, written, magnitudes gathered."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import clip
from hdl.lib.queues import BypassQueue
from hdl.lib.shapes import codes_layout, vector_write_layout, word_layout, write_port
from hdl.units.vector.magnitude import MAGNITUDE_ADDRESS_BITS, MagnitudeWriter
from hdl.units.vector.stages import STAGES, STORED
from isa.configurations import Configuration
from isa.formats import CODE, VECTOR


class VectorResults(wiring.Component):
    """Takes a result for every `issue`: it goes to vector memory, or with `store` out on `codes`.

    `start` sets the first word's destination and the first segment's magnitude register before a
    result comes; segment_end belongs to `issue`. result, over, least and clipped come as
    lanes.VectorLanes gives them; `saturates`: clipped elements count. `popped` says that a word has
    left. At most `depth` words may be under way.
    """

    def __init__(self, c: Configuration, depth: int):
        self._c, self._depth = c, depth
        lanes = c.vector_lanes
        super().__init__(
            {
                "start": In(1),
                "destination": In(16),
                "register": In(MAGNITUDE_ADDRESS_BITS),
                "issue": In(1),
                "segment_end": In(1),
                "store": In(1),
                "saturates": In(1),
                "result": In(word_layout(c)),
                "over": In(lanes),
                "least": In(lanes),
                "clipped": In(lanes),
                "popped": Out(1),
                "codes": Out(stream.Signature(codes_layout(c))),
                "vector_write": Out(stream.Signature(vector_write_layout(c))),
                "magnitude_write": Out(write_port(MAGNITUDE_ADDRESS_BITS, unsigned(VECTOR.bits))),
                "saturations": Out(range(lanes + 1)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = self._c.vector_lanes
        m.submodules.queue = queue = BypassQueue(word_layout(self._c), self._depth)
        m.submodules.magnitudes = magnitudes = MagnitudeWriter(lanes)
        coming, here, ends = self._arrivals(m)

        word = Signal(word_layout(self._c))
        result = Signal.like(word, reset_less=True)
        over, least = Signal(lanes, reset_less=True), Signal(lanes, reset_less=True)
        clipped = Signal(lanes)
        m.d.sync += [
            result.eq(self.result),
            over.eq(self.over),
            least.eq(self.least),
            clipped.eq(Mux(self.saturates & coming, self.clipped, 0)),
            self.saturations.eq(sum(clipped)),
        ]
        for lane in range(lanes):
            clean = clip(result[lane], over[lane], least[lane])
            m.d.comb += [word[lane].eq(clean), magnitudes.values[lane].eq(clean)]

        output, write = queue.o, self.vector_write.payload
        at = Signal(16)
        with m.If(self.start):
            m.d.sync += at.eq(self.destination)
        with m.Elif(self.popped):
            m.d.sync += at.eq(at + 1)
        m.d.comb += [
            queue.push.eq(here),
            queue.word.eq(word),
            output.ready.eq(Mux(self.store, self.codes.ready, self.vector_write.ready)),
            self.popped.eq(output.valid & output.ready),
            self.codes.valid.eq(output.valid & self.store),
            *(
                code.eq(output.payload[lane][: CODE.bits])
                for lane, code in enumerate(self.codes.payload)
            ),
            self.vector_write.valid.eq(output.valid & ~self.store),
            write.address.eq(at),
            write.data.eq(output.payload),
            magnitudes.start.eq(self.start),
            magnitudes.register.eq(self.register),
            magnitudes.valid.eq(here & ~self.store),
            magnitudes.end.eq(ends),
        ]
        wiring.connect(m, magnitudes.write, wiring.flipped(self.magnitude_write))
        return m

    def _arrivals(self, m: Module) -> tuple:
        """Whether a result comes a cycle later; whether one is here; and whether it ends a segment.

        A store's words enter the chain nearer to its end: all leave there, and nothing is left on
        the way when the next instruction comes.
        """
        cycles = STAGES["results"]
        late = cycles - STAGES[STORED]
        valid, end, enters = Signal(cycles), Signal(cycles), Signal(cycles)
        m.d.comb += [enters[0].eq(~self.store), enters[late].eq(self.store)]
        m.d.sync += [
            valid.eq(valid << 1 | Mux(self.issue, enters, 0)),
            end.eq(end << 1 | Mux(self.issue & self.segment_end, enters, 0)),
        ]
        return valid[-2], valid[-1], end[-1]
