"""Digilent Arty A7-100T, for Vivado only."""

from hdl.boards.board import Board, Family
from hdl.boards.uart_link import UartLink

BOARD = Board(
    name="arty_a7_100",
    description="Arty A7-100T: a Vivado project, which was not run",
    platform="amaranth_boards.arty_a7:ArtyA7_100Platform",
    family=Family.xilinx,
    part="XC7A100TI-1LCSG324",
    configuration="ulx3s",
    clock="clk100",
    clock_hz=100_000_000,
    core_hz=50_000_000,
    link=UartLink(3_000_000),
    leds=4,
    loader="arty_a7_100t",
    vendor="AMD",
)
