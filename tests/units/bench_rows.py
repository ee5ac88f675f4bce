"""The bench of hdl.memory.rows: random writes and reads in every cycle, then reading all back."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.lib.shapes import row_write_layout
from hdl.memory.rows import CHUNK_LANES, READ_LATENCY, readback_latency
from tests.cocotb_support import generator, pack, parameters, start
from tests.units.devices import device


def _port(dut, name: str, core: int):
    return getattr(dut, f"{name}__{core}")


def _bytes(value: int, lanes: int) -> list[int]:
    return list(value.to_bytes(lanes, "little"))


class Model:
    """The memory as arrays, and what has been written into it."""

    def __init__(self, c, depth: int, rng) -> None:
        self.c, self.depth, self.rng = c, depth, rng
        self.rows = np.zeros((c.cores, depth, c.lanes), np.int64)
        # A few rows in every bank, so that reads meet writes; the edges among them.
        self.used = sorted({0, depth - 1, *(rng.randrange(depth) for _ in range(14))})

    def random_write(self) -> dict:
        c, rng = self.c, self.rng
        address = rng.choice(self.used) if rng.random() < 0.95 else self.depth + rng.randrange(600)
        return {
            "address": address, "cores": rng.getrandbits(c.cores), "spread": rng.getrandbits(1),
            "lanes": rng.choice([rng.getrandbits(c.lanes), 1 << rng.randrange(c.lanes)]),
            "data": [rng.getrandbits(8) for _ in range(row_write_layout(c)["data"].shape.length)],
        }  # fmt: skip

    def apply(self, write: dict) -> None:
        if write["address"] >= self.depth:
            return
        for core in range(self.c.cores):
            for lane in range(self.c.lanes):
                if write["cores"] >> core & 1 and write["lanes"] >> lane & 1:
                    source = core if write["spread"] else lane % len(write["data"])
                    self.rows[core, write["address"], lane] = write["data"][source]


@cocotb.test()
async def reads_and_writes(dut):
    await start(dut)
    p, rng, edge = parameters(), generator("rows"), RisingEdge(dut.clk)
    c = device(p["name"])
    model = Model(c, p["depth"], rng)
    reads, writes = [], [None]  # None: not known
    dut.readback_enable.value = 0
    for cycle in range(5000):
        await edge
        if cycle > READ_LATENCY:
            for core in range(c.cores):
                wanted = reads[cycle - READ_LATENCY - 1][core]
                if wanted is not None:
                    got = _bytes(int(_port(dut, "data", core).value), c.lanes)
                    assert got == wanted, f"core {core}, cycle {cycle}: {wanted}, {got}"
        if writes[-1] is not None:
            model.apply(writes[-1])  # what was written in the cycle before can be read from now on
        # A write is carried out in the cycle after it was taken: reading then is undefined.
        busy = writes[-1]["address"] if writes[-1] else None
        now = []
        for core in range(c.cores):
            address, enable = rng.choice(model.used), rng.random() < 0.7
            _port(dut, "address", core).value = address
            _port(dut, "enable", core).value = int(enable)
            row = None if address == busy else list(model.rows[core, address])
            now.append(row if enable else [0] * c.lanes)
        reads.append(now)
        write = model.random_write() if rng.random() < 0.6 else None
        writes.append(write)
        dut.row_write__valid.value = int(write is not None)
        payload = rng.getrandbits(len(dut.row_write__payload))
        dut.row_write__payload.value = pack(row_write_layout(c), write) if write else payload
    await edge
    if writes[-1] is not None:
        model.apply(writes[-1])
    dut.row_write__valid.value = 0
    for core in range(c.cores):
        _port(dut, "enable", core).value = 0

    words = c.lanes // CHUNK_LANES
    wanted = [(core, row, word) for core in range(c.cores) for row in model.used
              for word in range(words)]  # fmt: skip
    dut.readback_enable.value = 1
    await edge
    for core, row, word in wanted:
        dut.readback_address.value = row
        if hasattr(dut, "readback_core"):
            dut.readback_core.value = core
        if words > 1:
            dut.readback_word.value = word
        await ClockCycles(dut.clk, readback_latency(c) + 1)
        got = _bytes(int(dut.readback_data.value), CHUNK_LANES)
        lanes = model.rows[core, row, word * CHUNK_LANES :][:CHUNK_LANES]
        assert got == list(lanes), f"core {core}, row {row}, word {word}: {got}"
