"""The model that ships on the virtual ULX3S, its weights in the bitstream: text over the UART."""

import time

import pytest

from golden.checkpoints.checkpoint import load_checkpoint
from golden.quantisation.calibrate import quantise_calibrated
from golden.tokenizers.load import load_tokenizer
from hdl.boards import board
from host.cli.sources import SHIPPED_MODEL
from host.compiler.compile import compile_model
from host.driver import Driver
from host.transport.golden import GoldenTransport
from host.transport.serial import SerialTransport
from isa.configurations import configuration
from isa.contents import contents
from sim.board.build import build_board
from sim.board.virtual import VirtualBoard
from tests.system.boards import PATIENCE

pytestmark = pytest.mark.slow

NEW_TOKENS = 32


def test_story() -> None:
    """Golden tokens, without loading: the model lies in the memories at power-on."""
    c = configuration("ulx3s")
    checkpoint = load_checkpoint(SHIPPED_MODEL)
    tokenizer = load_tokenizer(SHIPPED_MODEL, checkpoint.config.vocab)
    image = compile_model(quantise_calibrated(checkpoint, begin=tokenizer.begin), c)
    ids = tokenizer.encode("Once upon a time")
    expected = Driver(GoldenTransport(c), image).generate(ids, NEW_TOKENS)
    s = build_board(board("ulx3s_85f"), c, contents(image, c))
    with VirtualBoard(s.library, s.clock_hz, s.baud) as virtual:
        with SerialTransport(virtual.path, patience=PATIENCE) as transport:
            driver = Driver(transport, image, lambda *_: pytest.fail("it was loaded"))
            start = time.perf_counter()
            result = driver.generate(ids, NEW_TOKENS)
            seconds = time.perf_counter() - start
        speed = virtual.counts().cycles / virtual.seconds
    assert (result.tokens, result.stop) == (expected.tokens, expected.stop)
    print(tokenizer.decode(ids + result.tokens))
    print(f"{NEW_TOKENS / seconds:.2f} tokens a second of wall time, {speed:,.0f} cycles a second")
