"""The Verilated device as a transport: its clock runs while the host waits for an answer."""

from pathlib import Path

import numpy as np

from host.transport import Transport
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.errors import SpikeletError
from sim.build import build_library
from sim.compiler import Progress
from sim.memory import SimulatedMemory
from sim.simulated_device import SimulatedDevice

ANSWER_CYCLES = 50_000_000  # without the words that are waited for: the device is stuck
QUEUE_WORDS = 1 << 18  # sent but not taken; the clock runs when more wait


def _verilog(configuration: Configuration, contents: Contents, memory: SimulatedMemory) -> str:
    from sim.device_verilog import (
        device_verilog,  # elaboration takes seconds: only when nothing is cached
    )

    return device_verilog(configuration, contents, memory)


class SimulatedTransport(Transport):
    """A simulated device of one configuration, reset; built on first use, then cached.

    `progress(stage, fraction)` follows the build and is not called when there is none. `waves`
    names a VCD file that gets every cycle. `contents` lie in its memories at power-on. `memory`
    stands for external memory, where the configuration has it. `device` is open to tests (traces,
    stalls).

    Raises:
        SpikeletError: no C++ compiler, a build that failed, a VCD that cannot be written.
    """

    def __init__(self, configuration: Configuration, waves: Path | None = None,
                 progress: Progress | None = None, contents: Contents = EMPTY,
                 memory: SimulatedMemory = SimulatedMemory()) -> None:  # noqa: B008 - frozen
        if waves is not None:
            _check_writable(waves)  # before the build
        library = build_library(
            lambda: _verilog(configuration, contents, memory), configuration.vector_lanes,
            identity=f"{configuration!r} {contents.identity:08x} {memory}",
            waves=waves is not None, progress=progress,
            definitions=memory.definitions(configuration),
        )
        self.device = SimulatedDevice(library, configuration.vector_lanes)
        self._waiting = np.zeros(0, dtype=np.uint32)
        if waves is not None:
            self.device.waves(waves)

    def send(self, words: np.ndarray) -> None:
        self.device.write(words)
        if self.device.pending > QUEUE_WORDS:
            self._waiting = np.concatenate([self._waiting, self.device.flush(ANSWER_CYCLES)])

    def receive(self, count: int) -> np.ndarray:
        words, self._waiting = self._waiting[:count], self._waiting[count:]
        if words.size < count:
            words = np.concatenate([words, self.device.read(count - words.size, ANSWER_CYCLES)])
        return words

    @property
    def cycles(self) -> int:
        return self.device.cycles

    def close(self) -> None:
        self.device.close()


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise SpikeletError(f"cannot write waveforms to {path}: it is a folder; give a file name")
    if not path.absolute().parent.is_dir():
        raise SpikeletError(f"cannot write waveforms to {path}: its folder does not exist")
