"""Sipeed Tang Primer 20K: a Gowin GW2A-18."""

from hdl.boards.board import Board, Family
from hdl.boards.uart_link import UartLink

BOARD = Board(
    name="tang_primer_20k",
    description="Tang Primer 20K with GW2A-18: too small for any configuration",
    platform="amaranth_boards.tang_primer_20k:TangPrimer20kPlatform",
    family=Family.gowin,
    part="GW2A-LV18PG256C8/I7",
    configuration="minimal",
    clock="clk27",
    clock_hz=27_000_000,
    core_hz=27_000_000,
    link=UartLink(2_000_000),  # as fast as its USB bridge goes
    leds=0,
    loader="tangprimer20k",
    vendor="Gowin",
)
