"""MuseLab iCESugar Pro: a core board with an ECP5-25F and SDRAM."""

from hdl.boards.board import Board, Family
from hdl.boards.sdram_memory import SdramMemory
from hdl.boards.uart_link import UartLink
from hdl.memory.sdram_timing import SDRAM_32MB

BOARD = Board(
    name="icesugar_pro",
    description="iCESugar Pro with LFE5U-25F: the host streams the weights",
    platform="amaranth_boards.icesugar_pro:ICESugarProPlatform",
    family=Family.ecp5,
    part="LFE5U-25F-6BG256C",
    configuration="ulx3s_25f",
    clock="clk25",
    clock_hz=25_000_000,
    core_hz=50_000_000,
    link=UartLink(1_000_000),  # its USB bridge is a microcontroller
    leds=0,
    loader="icesugar-pro",
    vendor="Lattice",
    memory=SdramMemory(SDRAM_32MB),
)
