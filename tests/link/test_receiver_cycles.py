"""The receiver's exact cycles, counted by what it exports."""

import cocotb
import pytest

from hdl.link.receiver import END_CYCLES, HEADER_CYCLES, Receiver
from isa.configurations import configuration
from isa.packets import HEADER_WORDS, Kind, Space
from tests.cocotb_support import parameters, run_cocotb, start
from tests.link.bench_receiver import Bench
from tests.link.packet_model import Packet
from tests.link.test_receiver import Packets

PACKETS = 3


@cocotb.test()
async def one_word_a_cycle(dut):
    """A header, a cycle a payload word, an end: whatever the packet, when nothing stalls."""
    await start(dut)
    packets = Packets(configuration(parameters()["configuration"]), "rate")
    bench = Bench(dut, packets.c, 0.0, 0.0)
    entries = 8 * packets.c.cores * packets.c.lanes // 4
    payload = tuple(packets.rng.getrandbits(32) for _ in range(entries))
    for kind, space in ((Kind.WRITE, Space.ROW), (Kind.WRITE, Space.PARAMETER)):
        burst = [Packet(kind, space, 0, 0, payload) for _ in range(PACKETS)]
        before = len(bench.source.cycles)
        await bench.send(burst)
        cycles = bench.source.cycles[before:]
        per_packet = HEADER_CYCLES + len(payload) + END_CYCLES
        assert cycles[-1] - cycles[0] + 1 == PACKETS * per_packet - END_CYCLES
        words = cycles[HEADER_WORDS : HEADER_WORDS + len(payload)]
        assert words == list(range(words[0], words[0] + len(payload)))
    bench.stop()


@pytest.mark.cycles
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_receiver_cycles(name: str) -> None:
    run_cocotb(Receiver(configuration(name)), __name__, f"receiver_{name}", {"configuration": name})
