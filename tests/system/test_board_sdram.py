"""Weights in the SDRAM of a virtual board: over the UART into the chip, and golden tokens out."""

import numpy as np
import pytest

from hdl.boards import board
from host.compiler.compile import compile_model
from host.driver import Driver
from host.transport.golden import GoldenTransport
from host.transport.packets import PacketLink
from host.transport.serial import SerialTransport
from isa.configurations import configuration
from isa.packets import Space
from sim.board.build import build_board
from sim.board.virtual import VirtualBoard
from tests.golden.models import SEED, TINY
from tests.system.boards import CLOCK_HZ, PATIENCE, PROMPT
from tests.system.pairs import random_model

COUNT = 6


@pytest.mark.extra  # compiling this simulator takes long
def test_tokens_are_goldens_and_the_chip_is_content() -> None:
    """Twice, the second time after the board's power was away: the weights are loaded again."""
    c = configuration("tiny_sdram")
    image = compile_model(random_model(TINY, SEED), c, "external")
    expected = Driver(GoldenTransport(c), image).generate(PROMPT, COUNT)
    s = build_board(board("ulx3s_85f"), c, core_hz=CLOCK_HZ)
    with VirtualBoard(s.library, s.clock_hz, s.baud) as virtual:
        for _ in range(2):
            with SerialTransport(virtual.path, patience=PATIENCE) as transport:
                result = Driver(transport, image).generate(PROMPT, COUNT)
                for section in image.sections:
                    if section.space is Space.EXTERNAL:
                        words = PacketLink(transport).read(Space.EXTERNAL, section.address, 64)
                        np.testing.assert_array_equal(words, section.words[:64])
            assert (result.tokens, result.stop) == (expected.tokens, expected.stop)
            assert result.counters["external_words_read"] > 0
            assert virtual.memory_error == ""
            virtual.restart()
