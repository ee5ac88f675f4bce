"""The transmitter's exact cycles, counted by what it exports."""

import cocotb
import pytest

from hdl.link.transmitter import PACKET_CYCLES, Transmitter, word_cycles
from isa.configurations import configuration
from isa.packets import HEADER_WORDS, Kind, Space
from tests.cocotb_support import run_cocotb, start
from tests.link.test_transmitter import Bench, words_of

TINY = configuration("tiny")
LOGITS = 200


@cocotb.test()
async def rates(dut):
    """A header word and a logit a cycle; a word read back after its wait; packets without a gap."""
    await start(dut)
    bench = Bench(dut, 0.0, 0.0)
    dut.logits_count.value = LOGITS
    bench.logits.put([-3] * LOGITS)
    await bench.expect(words_of(Kind.LOGITS, LOGITS, [-3] * LOGITS))
    cycles = bench.link.cycles
    assert cycles[-1] - cycles[0] == HEADER_WORDS + LOGITS - 1
    del cycles[:]
    await bench.expect(bench.request(Space.ROW, 40, 9))
    words = cycles[HEADER_WORDS:]
    assert {b - a for a, b in zip(words, words[1:], strict=False)} == {word_cycles(TINY)}
    del cycles[:]
    dut.token_position.value = 3
    bench.token.put([1, 2, 3])
    for token in (1, 2, 3):
        await bench.expect(words_of(Kind.TOKEN, token, flags=3))
    begins = cycles[::HEADER_WORDS]
    assert [begin - begins[0] for begin in begins] == [0, PACKET_CYCLES, 2 * PACKET_CYCLES]
    await bench.stop()


@pytest.mark.cycles
def test_transmitter_cycles() -> None:
    run_cocotb(Transmitter(TINY), __name__, "transmitter_tiny")
