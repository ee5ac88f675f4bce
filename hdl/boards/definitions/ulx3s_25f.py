"""Radiona ULX3S with the small ECP5."""

from hdl.boards.board import Board, Family
from hdl.boards.sdram_memory import SdramMemory
from hdl.boards.uart_link import UartLink
from hdl.memory.sdram_timing import SDRAM_32MB

BOARD = Board(
    name="ulx3s_25f",
    description="ULX3S with LFE5U-25F: the host streams the weights",
    platform="amaranth_boards.ulx3s:ULX3S_25F_Platform",
    family=Family.ecp5,
    part="LFE5U-25F-6BG381C",
    configuration="ulx3s_25f",
    clock="clk25",
    clock_hz=25_000_000,
    core_hz=50_000_000,
    link=UartLink(3_000_000),
    loader="ulx3s",
    vendor="Lattice",
    memory=SdramMemory(SDRAM_32MB),
)
