"""Sipeed Tang Mega 138K Pro Dock: a Gowin GW5AST-138."""

from hdl.boards.board import Board, Family
from hdl.boards.uart_link import UartLink

BOARD = Board(
    name="tang_mega_138k",
    description="Tang Mega 138K Pro with GW5AST-138: models resident in block RAM",
    platform="hdl.boards.gw5a:TangMega138kPro",
    family=Family.gowin,
    part="GW5AST-LV138FPG676AC1/I0",
    configuration="tang_mega",
    clock="clk50",
    clock_hz=50_000_000,
    core_hz=50_000_000,
    link=UartLink(2_000_000),
    leds=6,
    loader="tangmega138k",
    vendor="Gowin",
)
