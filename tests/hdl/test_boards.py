"""Boards: their records, their PLLs, and the tops that simulation runs."""

import subprocess
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.boards import BOARDS, board, pll
from hdl.boards.board import Board, Family
from hdl.boards.sdram_memory import SdramMemory
from hdl.boards.top import BoardTop, board_verilog
from hdl.link.device_side import device_side
from isa.configurations import CONFIGURATIONS, configuration
from isa.errors import SpikeletError
from sim.board.build import build_board
from sim.memory import SimulatedMemory
from sim.toolchain import find_verilator
from tests.memory.bench_sdram import SLOW

MEGA = 1_000_000


@pytest.mark.parametrize("name", BOARDS)
def test_records_agree_with_the_platforms(name: str) -> None:
    b = board(name)
    platform = b.platform_class()()
    assert platform.lookup(b.clock).clock.frequency == b.clock_hz
    platform.lookup(*b.link.uart)
    for led in range(b.leds):
        platform.lookup("led", led)
    assert b.name == name and b.configuration in CONFIGURATIONS and b.description
    assert b.core_hz >= 8 * b.link.baud  # what the link needs
    _, reached = pll.core_clock(b)
    assert abs(reached - b.core_hz) <= b.core_hz * pll.TOLERANCE


def test_an_unknown_board() -> None:
    with pytest.raises(SpikeletError, match="no board 'ulx4s'; choose one of: .*ulx3s_85f"):
        board("ulx4s")


@pytest.mark.parametrize("family", pll.LIMITS)
@pytest.mark.parametrize("input_mhz", [12, 25, 27, 48, 100])
def test_pll_settings_keep_the_limits(family: Family, input_mhz: int) -> None:
    limits = pll.LIMITS[family]
    reached = 0
    for megahertz in (10, 25, 40, 50, 62.5, 66, 75, 80, 85, 90, 95, 100, 110, 125, 133, 150, 200):
        wanted = round(megahertz * MEGA)
        try:
            p = pll.settings(family, input_mhz * MEGA, wanted)
        except SpikeletError:
            continue
        reached += 1
        detector = p.input_hz / p.reference
        oscillator = detector * p.multiplier
        assert limits.detector_hz[0] <= detector <= limits.detector_hz[1]
        assert limits.oscillator_hz[0] <= oscillator <= limits.oscillator_hz[1]
        assert abs(oscillator / p.post - wanted) <= 0.005 * wanted
        assert p.output_hz == oscillator / p.post
        assert p.reference in limits.reference and p.multiplier in limits.multiplier
        assert p.post in limits.post
    assert reached >= (14 if input_mhz >= limits.input_hz[0] / MEGA else 0)


@pytest.mark.parametrize(("megahertz", "expected"), [
    (50, (1, 24, 12)), (80, (1, 16, 5)), (90, (1, 18, 5)), (100, (1, 24, 6)),
])  # fmt: skip
def test_pll_settings_from_25_megahertz(megahertz: int, expected: tuple[int, int, int]) -> None:
    """The input compared undivided, and the oscillator as near to 600 MHz as it can be."""
    p = pll.settings(Family.ecp5, 25 * MEGA, megahertz * MEGA)
    assert (p.reference, p.multiplier, p.post) == expected
    assert p.output_hz == megahertz * MEGA


def test_frequencies_that_cannot_be_made() -> None:
    with pytest.raises(SpikeletError, match="make 397 MHz from 25 MHz; the nearest is 400.000 MHz"):
        pll.settings(Family.ecp5, 25 * MEGA, 397 * MEGA)
    with pytest.raises(SpikeletError, match="cannot make 50 MHz from 5 MHz"):
        pll.settings(Family.ecp5, 5 * MEGA, 50 * MEGA)
    with pytest.raises(SpikeletError, match="run at their own clock only: .*give 27"):
        pll.settings(Family.gowin, 27 * MEGA, 54 * MEGA)


def test_the_pll_has_its_settings_in_the_netlist() -> None:
    from amaranth.hdl import ClockDomain, Module, Signal

    m = Module()
    m.domains.sync = ClockDomain()
    clock_in, clock_out, locked = Signal(), Signal(), Signal()
    p = pll.settings(Family.ecp5, 25 * MEGA, 80 * MEGA)
    m.submodules.pll = pll.ecp5_pll(p, clock_in, clock_out, locked)
    text = rtlil.convert(m, ports=[clock_in, clock_out, locked], emit_src=False)
    assert f"parameter \\CLKI_DIV {p.reference}" in text
    assert f"parameter \\CLKOP_DIV {p.multiplier}" in text
    assert f"parameter \\CLKOS_DIV {p.post}" in text
    assert 'attribute \\FREQUENCY_PIN_CLKOS "80.000000"' in text


def test_the_simulated_top_has_the_pins_and_no_cells_of_a_vendor(tmp_path) -> None:
    b = board("ulx3s_85f")
    text = board_verilog(BoardTop(b, configuration("tiny")))
    module = text[text.index("module spikelet_board(") :]
    ports = module[module.index("(") + 1 : module.index(")")].split(", ")
    assert sorted(ports) == ["clk25", "led", "uart_rx", "uart_tx"]
    assert "EHXPLLL" not in text and "OBZ" not in text
    (tmp_path / "top.v").write_text(text)
    tool = find_verilator()
    run = subprocess.run(
        [tool.program, "--lint-only", "-Wno-lint", "-Wno-style", "--top-module", "spikelet_board",
         tmp_path / "top.v"], env=tool.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]


class ParallelEnd(Component):
    """A stand-in for a link: a word a cycle over wires, and no session."""

    def __init__(self) -> None:
        super().__init__({"bus": In(stream.Signature(unsigned(32))), "answer": Out(32),
                          **device_side()})  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        connect(m, flipped(self.bus), flipped(self.words_to_device))
        m.d.comb += [self.answer.eq(self.words_from_device.payload),
                     self.words_from_device.ready.eq(1)]
        return m


@dataclass(frozen=True)
class ParallelLink:
    """The record of that link."""

    ports: ClassVar = {"word": In(32), "valid": In(1), "ready": Out(1), "answer": Out(32)}
    words_a_second: ClassVar = 1e6

    def component(self, c, clock_hz, contents) -> ParallelEnd:
        return ParallelEnd()

    def attach(self, m, platform, core, signals) -> None:
        assert platform is None
        m.d.comb += [core.bus.payload.eq(signals["word"]), core.bus.valid.eq(signals["valid"]),
                     signals["ready"].eq(core.bus.ready), signals["answer"].eq(core.answer)]


def another(**changes) -> Board:
    return replace(board("ulx3s_85f"), name="another", **changes)


def test_another_chip_is_one_record() -> None:
    """Its controller, its pins and the model at the simulated pins are of its sizes and times."""
    top = BoardTop(another(memory=SdramMemory(SLOW)), configuration("tiny_sdram"))
    text = board_verilog(top)
    module = text[text.index("module spikelet_board(") :]
    for port in ("output [11:0] sdram_address;", "input [15:0] sdram_data_in;"):
        assert port in module
    model = SimulatedMemory(SLOW).definitions(top.configuration)["SPIKELET_SDRAM"]
    assert model.split(",")[:4] == ["12", "8", "2", "2"]  # bits of row, column, bank; CAS latency


def test_another_link_is_one_record() -> None:
    """Neither core nor top know what a UART is; the simulator's harness does, and says so."""
    b = another(link=ParallelLink())
    text = board_verilog(BoardTop(b, configuration("tiny")))
    module = text[text.index("module spikelet_board(") :]
    ports = module[module.index("(") + 1 : module.index(")")].split(", ")
    assert sorted(ports) == ["answer", "clk25", "led", "ready", "valid", "word"]
    assert "uart" not in text
    with pytest.raises(SpikeletError, match="link of another is .*has a UART at its pins"):
        build_board(b, configuration("tiny"))


@pytest.mark.parametrize(("memory", "words"), [
    (None, "external memory, and another has none"),
    (SdramMemory(replace(SLOW, row_bits=4, column_bits=4)), r"the chip of another 512: "),
])  # fmt: skip
def test_a_memory_that_is_not_there(memory, words: str) -> None:
    with pytest.raises(SpikeletError, match=words):
        another(memory=memory).memory_of(configuration("tiny_sdram"))
