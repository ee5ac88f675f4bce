"""The simulated device as a transport. Its clock runs only while the host waits for an answer."""

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

ANSWER_CYCLES = 50_000_000  # a device that has not answered after so many is stuck
QUEUE_WORDS = 1 << 18  # when more words wait to be taken, `send` runs the clock


def _verilog(configuration: Configuration, contents: Contents, memory: SimulatedMemory) -> str:
    from sim.device_verilog import (
        device_verilog,  # takes seconds, so only when nothing is cached
    )

    return device_verilog(configuration, contents, memory)


class SimulatedTransport(Transport):
    """A simulated device of one configuration, after reset. Its simulator is built on first use.

    Tests may use `device` to read traces and to stall streams.

    Args:
        configuration: of the device.
        waves: a VCD file to write, with every cycle in it.
        progress: called with (stage, fraction) while the simulator is built; not called where it
            comes from the cache.
        contents: what lies in the device's memories at power-on.
        memory: what stands for external memory, where the configuration has any.

    Raises:
        SpikeletError: no C++ compiler, a build that failed, a VCD that cannot be written.
    """

    def __init__(self, configuration: Configuration, waves: Path | None = None,
                 progress: Progress | None = None, contents: Contents = EMPTY,
                 memory: SimulatedMemory = SimulatedMemory()) -> None:  # noqa: B008 - frozen
        if waves is not None:
            _check_writable(waves)  # before a build that takes long
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
