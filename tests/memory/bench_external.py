"""The bench of the external memory's reader: random pieces, stalls everywhere, the host's words."""

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.lib.shapes import row_write_layout, settings_layout
from hdl.memory.external_port import address_bits, burst_layout, word_write_layout
from isa.configurations import configuration
from isa.external import PART
from isa.packets import Space
from isa.registers import SETTINGS
from tests.cocotb_support import Sink, Source, generator, pack, parameters, start

ROW_RING, PARAMETER_RING = 0x340, 0x1A0  # where entries go: any address will do


class Memory:
    """External memory behind the port: bursts in order, with stalls of their own."""

    def __init__(self, dut, c, stall: float) -> None:
        self.words = [0] * c.external_words
        self.requests = Sink(dut, "memory__request", burst_layout(address_bits(c)), stall)
        self.writes = Sink(dut, "memory__write", 32, stall)
        self.reads = Source(dut, "memory__read", 32, stall)
        self.bursts: list[tuple[int, int]] = []
        cocotb.start_soon(self._serve())

    async def _serve(self) -> None:
        while True:
            (burst,) = await self.requests.receive(1, 1_000_000)
            first, count = burst["address"], burst["length"]
            assert count > 0 and first + count <= len(self.words), burst
            self.bursts.append((first, count))
            if burst["write"]:
                self.words[first : first + count] = await self.writes.receive(count)
            else:
                await self.reads.send(self.words[first : first + count])


class Model:
    """Writes random pieces into memory and says what playing them must give."""

    def __init__(self, c, rng) -> None:
        self.c, self.rng = c, rng

    def piece(self, one_core: bool = False) -> tuple[list[int], list[tuple]]:
        """(words, events) of a piece of a few parts."""
        words, events = [], []
        count = self.rng.randint(1, 4)
        for n in range(count):
            last = n == count - 1
            parameter = not one_core and self.rng.random() < 0.4
            found = self.parameters() if parameter else self.rows(one_core)
            fields, data, played = found
            words += [PART.pack(length=len(data), last=last, **fields), *data]
            events += played
        return words, events

    def parameters(self):
        each = self.c.vector_lanes // 2
        data = [self.rng.getrandbits(32) for _ in range(each * self.rng.randint(1, 5))]
        events = [("table", PARAMETER_RING * each + i % each, word) for i, word in enumerate(data)]
        return dict(parameter=1), data, _marked(events, each, "parameter done")

    def rows(self, one_core: bool):
        c, rng = self.c, self.rng
        each, cores = rng.randint(1, c.lanes // 4), 1 if one_core else c.cores
        data = [rng.getrandbits(32) for _ in range(each * cores * rng.randint(1, 6))]
        events = []
        for i, word in enumerate(data):
            core, place = i // each % cores, i % each
            events.append(("row", 1 << core, 0xF << 4 * place, word))
        fields = dict(row_words=each - 1, one_core=one_core)
        return fields, data, _marked(events, each * cores, "row done")


def _marked(events: list[tuple], each: int, mark: str) -> list[tuple]:
    """Events with a mark behind the last word of every entry."""
    marked = []
    for i, event in enumerate(events):
        marked.append(event)
        if i % each == each - 1:
            marked.append((mark,))
    return marked


class Rings:
    """Rooms that come and go between entries, and what is written, in order."""

    def __init__(self, dut, c, rng, full: float) -> None:
        self.dut, self.c, self.rng, self.full = dut, c, rng, full
        self.events: list[tuple] = []
        self.foreign: list[int] = []  # words that came from the receiver
        self.ready = {"row": 1, "parameter": 1}
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        dut, edge = self.dut, RisingEdge(self.dut.clk)
        layout = row_write_layout(self.c)
        dut.row_address.value, dut.parameter_address.value = ROW_RING, PARAMETER_RING
        begun = {"row": False, "parameter": False}
        while True:
            for name in self.ready:
                getattr(dut, f"{name}_ready").value = self.ready[name]
            ready = int(self.rng.random() >= self.full / 2)
            dut.rows__ready.value = ready
            await edge
            if int(dut.tables__enable.value):
                space, data = int(dut.tables__space.value), int(dut.tables__data.value)
                if space == Space.PARAMETER:
                    assert self.ready["parameter"]
                    self.events.append(("table", int(dut.tables__address.value), data))
                    begun["parameter"] = True
                else:
                    self.foreign.append(data)
            if int(dut.rows__valid.value) and ready:
                write = layout.from_bits(int(dut.rows__payload.value))
                data = sum(write.data[i] << 8 * i for i in range(4))
                if write.address == ROW_RING:
                    assert self.ready["row"]
                    self.events.append(("row", write.cores, write.lanes, data))
                    begun["row"] = True
                else:
                    self.foreign.append(data)
            for name in self.ready:
                if int(getattr(dut, f"{name}_done").value):
                    self.events.append((f"{name} done",))
                    begun[name] = False
                if not begun[name]:  # room changes between entries only
                    self.ready[name] = int(self.rng.random() >= self.full)


async def begin(dut) -> None:
    await RisingEdge(dut.clk)
    dut.begin.value = 1
    await RisingEdge(dut.clk)
    dut.begin.value = 0


@cocotb.test()
async def plays_positions(dut):
    """Random pieces and tokens: all words in order, and the receiver's in between."""
    p = parameters()
    c, stall = configuration("tiny_sdram"), p["stall"]
    for name in ("begin", "fetch", "row_done_in", "parameter_done_in"):
        getattr(dut, name).value = 0
    dut.tables_in__enable.value = 0
    await start(dut)
    rng = generator(f"external {stall}")
    memory, model, rings = Memory(dut, c, stall), Model(c, rng), Rings(dut, c, rng, stall)
    receiver = Source(dut, "rows_in", row_write_layout(c), 0.9)
    host = Source(dut, "host", word_write_layout(address_bits(c)), stall)
    for _ in range(8):
        # Tokens' pieces are of one size.
        tokens, pieces = rng.randint(1, 40), []
        while len(pieces) < tokens:
            piece = model.piece(one_core=True)
            if not pieces or len(piece[0]) == len(pieces[0][0]):
                pieces.append(piece)
        stride = len(pieces[0][0])
        (body, in_body), (head, in_head) = model.piece(), model.piece()
        first = rng.randrange(2000)
        words = [word for piece, _ in pieces for word in piece]
        at_body = first + len(words) + rng.randrange(50)
        at_head = at_body + len(body) + rng.randrange(50)
        for at, part in ((first, words), (at_body, body), (at_head, head)):
            memory.words[at : at + len(part)] = part
        settings = {r.name: 0 for r in SETTINGS} | dict(
            external_enable=1, external_embedding=first, external_embedding_words=stride,
            external_body=at_body, external_body_words=len(body), external_head=at_head,
            external_head_words=len(head),
        )  # fmt: skip
        dut.settings.value = pack(settings_layout(), settings)
        for _ in range(4):
            token, runs_head = rng.randrange(tokens), rng.getrandbits(1)
            dut.token.value, dut.runs_head.value = token, runs_head
            expected = pieces[token][1] + in_body + (in_head if runs_head else [])
            rings.events.clear()
            memory.bursts.clear()
            foreign = [rng.getrandbits(32) for _ in range(5)]
            rings.foreign.clear()
            receiver.put([
                dict(address=7, cores=1, lanes=15, spread=0,
                     data=[word >> 8 * i & 255 for i in range(4)])
                for word in foreign
            ])  # fmt: skip
            await begin(dut)
            for _ in range(20_000):
                if len(rings.events) >= len(expected) and not receiver._queue:
                    break
                await RisingEdge(dut.clk)
            await ClockCycles(dut.clk, 30)
            assert rings.events == expected
            assert rings.foreign == foreign
            assert memory.bursts[0] == (first + token * stride, stride)
            assert len(memory.bursts) == 2 + runs_head
        # Between runs: the host writes words, and reads them one by one.
        at = rng.randrange(40_000, c.external_words - 20)
        data = [rng.getrandbits(32) for _ in range(15)]
        await host.send([dict(address=at + i, data=word) for i, word in enumerate(data)])
        await ClockCycles(dut.clk, 40)
        assert memory.words[at : at + 15] == data
        for address, wanted in ((at + 3, data[3]), (at, data[0]), (c.external_words + at, 0)):
            dut.fetch_address.value, dut.fetch.value = address, 1
            await ClockCycles(dut.clk, 2)
            while int(dut.fetch_hold.value):
                await RisingEdge(dut.clk)
            assert int(dut.fetch_data.value) == wanted
            dut.fetch.value = 0
            await ClockCycles(dut.clk, 2)
