"""A Verilated FrameLink as a Python object, fast enough for millions of bytes."""

import ctypes
import functools
import os
from pathlib import Path

import numpy as np

from hdl.link.frame_link import FrameLink
from isa.frames import Hello
from sim import compiler
from sim.cache import cached, content_key
from sim.toolchain import find_compiler, find_verilator, verilator_version
from sim.verilog import to_verilog

_HARNESS = Path(__file__).with_name("frame_harness.cc")
_FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "0", "--noassert")
_BUFFER = 1 << 16


class _Run(ctypes.Structure):
    _fields_ = [
        (name, kind)
        for stream in ("bytes_in", "bytes_out", "words_in", "words_out")
        for name, kind in ((stream, ctypes.c_void_p), (f"{stream}_count", ctypes.c_int64),
                           (f"{stream}_done", ctypes.c_int64))
    ] + [("cycles", ctypes.c_int64), ("gap", ctypes.c_int64), ("resets", ctypes.c_int64),
         ("idle", ctypes.c_uint32), ("stall", ctypes.c_uint32)]  # fmt: skip


@functools.cache
def _library(*arguments: object) -> ctypes.CDLL:
    """The library of a FrameLink made with these arguments."""
    text = to_verilog(FrameLink(*arguments), "frame_link")

    def build(folder: Path, log: Path) -> None:
        verilog = folder / "frame_link.v"
        verilog.write_text(text)
        sources = compiler.verilate([verilog], "frame_link", folder, _FLAGS, log)
        merged = compiler.merge_sources(sources, folder, "model", 200_000)
        flags = [*compiler.model_flags(find_verilator()), f"-I{folder}", "-O2"]
        objects = compiler.compile_objects([(p, flags) for p in (*merged, _HARNESS)], folder, log)
        command = [find_compiler(), "-shared", "-Wl,-Bsymbolic", "-o", folder / "link.so"]
        command += [*objects, *compiler.runtime_objects(), "-pthread"]
        compiler.run_logged(command, log, "linker")

    key = content_key(text, *_FLAGS, verilator_version(), *os.uname()[::4], _HARNESS,
                      Path(__file__), Path(compiler.__file__))  # fmt: skip
    library = ctypes.CDLL(cached("frame_link", key, build) / "link.so")
    library.link_new.restype = ctypes.c_void_p
    library.link_new.argtypes = [ctypes.c_uint64]
    for name in ("link_free", "link_power_cycle"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.link_run.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Run)]
    return library


class FrameLinkModel:
    """The RTL link with the methods of golden.device.frame_link.DeviceLink that channel.Pair calls.

    `offered` has the words that the device behind it still has to give. idle, stall: shares of
    cycles in which it gives or takes nothing. A byte goes each way every `gap` cycles, and each
    `receive` is `cycles` cycles.
    """

    def __init__(self, hello: Hello, clock_hz: int, receive_words: int = 512,
                 transmit_words: int = 512, block: bool = True, *, seed: int = 1,
                 idle: float = 0.0, stall: float = 0.0, gap: int = 8,
                 cycles: int = 2400) -> None:  # fmt: skip
        self._library = _library(clock_hz, hello, receive_words, transmit_words, block)
        self._link = self._library.link_new(seed)
        self.idle, self.stall, self.gap, self.cycles = idle, stall, gap, cycles
        self.block = block
        self.offered: list[int] = []
        self.reset_cycles = 0
        self._taken: list[int] = []
        self._in, self._out = np.empty(0, dtype=np.uint16), b""
        self.power_cycle()

    def close(self) -> None:
        """Frees the simulation."""
        self._library.link_free(self._link)

    def power_cycle(self) -> None:
        self._library.link_power_cycle(self._link)

    def receive(self, data: bytes, now: float = 0.0) -> None:
        """Runs `cycles` cycles, in which these bytes come in, as far as time allows."""
        data = np.frombuffer(data, dtype=np.uint8).astype(np.uint16)
        self._in = self.run(np.concatenate([self._in, data]), self.cycles)

    def transmit(self, now: float = 0.0) -> bytes:
        """What came out meanwhile."""
        out, self._out = self._out, b""
        return out

    def take(self, limit: int | None = None) -> list[int]:
        """Words that the device has taken; when `limit` is 0 it takes none from now on."""
        self.stall = 1.0 if limit == 0 else self.stall
        taken, self._taken = self._taken, []
        return taken

    def put(self, words: list[int]) -> int:
        """Words for the device to give."""
        self.offered += words
        return len(words)

    def run(self, data: np.ndarray, cycles: int) -> np.ndarray:
        """Runs so many cycles with `data` (uint16; bit 8: no stop bit) coming in; what did not."""
        offered = np.array(self.offered[:_BUFFER], dtype=np.uint32)
        out = np.empty(cycles // self.gap + 1, dtype=np.uint8)
        words = np.empty(cycles, dtype=np.uint32)
        run = _Run(data.ctypes.data, data.size, 0, out.ctypes.data, out.size, 0,
                   offered.ctypes.data, offered.size, 0, words.ctypes.data, words.size, 0,
                   cycles, self.gap, 0, round(256 * self.idle), round(256 * self.stall))
        self._library.link_run(self._link, ctypes.byref(run))
        del self.offered[: run.words_in_done]
        self._taken += words[: run.words_out_done].tolist()
        self._out += out[: run.bytes_out_done].tobytes()
        self.reset_cycles += run.resets
        return data[run.bytes_in_done :]
