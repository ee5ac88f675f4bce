"""Records a session with a board for tests/system/test_recording.py.

    python -m tests.system.record                 # with a virtual board
    python -m tests.system.record /dev/ttyUSB0    # with a board; see --help of spikelet devices

The recording is of the small device and a random model. Once more whenever packets, the program or
the image change on purpose.
"""

import sys
from pathlib import Path

from host.driver import Driver, Generation
from host.sampling import Sampler
from host.transport import Transport
from host.transport.recording import Recorder
from host.transport.serial import SerialTransport
from tests.system.boards import CLOCK_HZ, PATIENCE, PROMPT, image, virtual_board

RECORDING = Path(__file__).parent / "recordings" / "board.npz"
MODEL_SEED, COUNT = 7, 6


def session(transport: Transport) -> list[Generation]:
    """What is recorded: loading, a greedy and a sampled generation, the logits of a prompt."""
    model = image(MODEL_SEED)
    driver = Driver(transport, model)
    hot = Sampler(model.model["fraction"], 4.0, seed=1)
    results = [driver.generate(PROMPT, COUNT), driver.generate(PROMPT, COUNT, sampler=hot)]
    driver.logits(PROMPT)
    return results


def record(path: str, label: str) -> None:
    with SerialTransport(path, patience=PATIENCE) as board:
        recorder = Recorder(board, label)
        session(recorder)
        recorder.save(RECORDING)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        record(sys.argv[1], f"board on {sys.argv[1]}")
    else:
        with virtual_board() as virtual:
            record(virtual.path, f"virtual board: ulx3s_85f with 'tiny', Verilated, "
                                 f"{CLOCK_HZ / 1e6:g} MHz; no board was attached")
