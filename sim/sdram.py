"""The timing-checking SDRAM model as a Python object: sim/sdram.h through ctypes."""

import ctypes
import os
import weakref
from pathlib import Path

from hdl.memory.sdram_timing import SdramTiming
from sim import compiler
from sim.cache import cached, content_key
from sim.toolchain import find_compiler

HEADER = Path(__file__).with_name("sdram.h")
_SOURCE = Path(__file__).with_name("sdram.cc")
_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden")
_SIZES = ("row_bits", "column_bits", "bank_bits", "cas_latency", "t_mrd", "first_refreshes")
_TIMES = ("t_rcd", "t_rp", "t_ras", "t_ras_maximum", "t_rc", "t_rfc", "t_rrd", "t_wr", "power_up",
          "refresh_interval")
PINS = ("cke", "ras_n", "cas_n", "we_n", "bank", "address", "dqm", "data", "drive")
NOP = dict(cke=1, ras_n=1, cas_n=1, we_n=1, bank=0, address=0, dqm=0, data=0, drive=0)


class SdramParameters(ctypes.Structure):
    """The model's parameters, as sim/sdram.h declares them."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in _SIZES),
        ("period", ctypes.c_double),
        *((name, ctypes.c_double) for name in _TIMES),
    ]

    @classmethod
    def of(cls, timing: SdramTiming, clock_hz: float) -> "SdramParameters":
        """The chip's parameters at a clock."""
        values = {name: getattr(timing, name) for name in (*_SIZES, *_TIMES)}
        return cls(period=1e9 / clock_hz, **values)


class _Pins(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in PINS]


class SdramModel:
    """A chip of that timing with a clock.

    `step` is one rising edge. It takes what the pins are before the edge, by the names of PINS, and
    returns what is on the data bus at the next one. `error` names the first rule that was broken,
    with its cycle; "" when none was.
    """

    def __init__(self, timing: SdramTiming, clock_hz: float) -> None:
        self._library = _library()
        self._parameters = SdramParameters.of(timing, clock_hz)
        self._handle = self._library.sdram_new(ctypes.byref(self._parameters))
        weakref.finalize(self, self._library.sdram_free, self._handle)

    def step(self, **pins: int) -> int:
        return self._library.sdram_step(self._handle, ctypes.byref(_Pins(**pins)))

    def power_cycle(self) -> None:
        """The supply goes off and on; cells keep what they hold."""
        self._library.sdram_power_cycle(self._handle)

    @property
    def error(self) -> str:
        return self._library.sdram_error(self._handle).decode()

    @property
    def refreshes(self) -> int:
        return self._library.sdram_refreshes(self._handle)


def _library() -> ctypes.CDLL:
    def build(folder: Path, log: Path) -> None:
        command = [find_compiler(), *_FLAGS, "-o", folder / "libsdram.so", _SOURCE]
        compiler.run_logged(command, log, "C++ compiler")

    key = content_key(*_FLAGS, *os.uname()[::4], _SOURCE, HEADER)
    library = ctypes.CDLL(str(cached("sdram", key, build) / "libsdram.so"))
    chip, pointer = ctypes.c_void_p, ctypes.c_void_p
    signatures = {
        "new": (chip, [pointer]),
        "free": (None, [chip]),
        "step": (ctypes.c_uint32, [chip, pointer]),
        "power_cycle": (None, [chip]),
        "error": (ctypes.c_char_p, [chip]),
        "refreshes": (ctypes.c_uint64, [chip]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"sdram_{name}")
        function.restype, function.argtypes = result, arguments
    return library
