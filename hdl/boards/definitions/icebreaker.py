"""1BitSquared iCEBreaker: a Lattice iCE40UP5K."""

from hdl.boards.board import Board, Family
from hdl.boards.uart_link import UartLink

BOARD = Board(
    name="icebreaker",
    description="iCEBreaker with iCE40UP5K: too small for any configuration",
    platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
    family=Family.ice40,
    part="iCE40UP5K-SG48I",
    configuration="minimal",
    clock="clk12",
    clock_hz=12_000_000,
    core_hz=12_000_000,
    link=UartLink(1_000_000),
    leds=2,
    loader="ice40_generic",
    vendor="Lattice",
)
