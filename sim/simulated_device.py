"""The device as a Python object: the shared library of sim.build through ctypes."""

import ctypes
import weakref
from pathlib import Path

import numpy as np

from isa.errors import SpikeletError

TRACE_KINDS = ("post", "vector", "key_value")
"""Names of the trace's writers, by the number in a record's `kind`."""

_CHUNK_CYCLES = 200_000  # between two looks at Ctrl-C


def trace_dtype(vector_lanes: int) -> np.dtype:
    """A trace record: what one writer wrote in one cycle.

    `cycle` counts from the making of the device; `address` is the word that is written (0 for
    key_value), `kind` an index into TRACE_KINDS, `exponent` that of a key_value record, `data` the
    integers of all lanes (24 bits signed; codes of 8 bits signed in key_value records).
    """
    return np.dtype([
        ("cycle", "<u8"), ("address", "<u2"), ("kind", "u1"), ("exponent", "i1"),
        ("data", "<i4", (vector_lanes,)),
    ])


class DeviceTimeoutError(SpikeletError):
    """The device did not take or give in time the words it should."""


class MemoryRuleError(AssertionError):
    """The device broke a rule of its external memory: a bug of the hardware."""


class SimulatedDevice:
    """One instance of a device; reset when made. A context manager; `close` frees its memory."""

    def __init__(self, library_path: Path | str, vector_lanes: int) -> None:
        self._library = _load(Path(library_path))
        built_for = self._library.spikelet_vector_lanes()
        if built_for != vector_lanes:
            raise ValueError(f"{library_path} has {built_for} vector lanes, not {vector_lanes}")
        self.vector_lanes = vector_lanes
        self._handle = self._library.spikelet_new()
        self._finalizer = weakref.finalize(self, self._library.spikelet_free, self._handle)
        self._pending = np.empty(0, np.uint32)
        self.reset()

    def __enter__(self) -> "SimulatedDevice":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the simulation (and finishes its VCD); the object cannot be used afterwards."""
        self._finalizer()
        self._handle = None

    @property
    def cycles(self) -> int:
        """Clock cycles since the device was made, resets included."""
        return self._library.spikelet_cycles(self._open())

    @property
    def pending(self) -> int:
        """Words given to `write` that the device has not taken yet."""
        return len(self._pending)

    def reset(self, cycles: int = 4) -> None:
        """Holds the reset for some cycles; words not taken yet are dropped."""
        self._pending = np.empty(0, np.uint32)
        self._library.spikelet_reset(self._open(), cycles)

    def stalls(self, input_probability: float, output_probability: float, seed: int = 1) -> None:
        """From now on a new word waits, and a word from the device is not taken, by chance.

        Probabilities are of one cycle, 0 (the default) to below 1.
        """
        for probability in (input_probability, output_probability):
            if not 0.0 <= probability < 1.0:
                raise ValueError(f"the stall probability {probability} is not in 0 <= p < 1")
        self._library.spikelet_stalls(self._open(), input_probability, output_probability, seed)

    def memory_stalls(self, probability: float, seed: int = 1) -> None:
        """From now on external memory makes the device wait, by chance in each cycle; an SDRAM's
        chip has nothing to stall with."""
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"the stall probability {probability} is not in 0 <= p < 1")
        self._library.spikelet_memory_stalls(self._open(), probability, seed)

    def run(
        self, words: np.ndarray, capacity: int, wanted: int, max_cycles: int
    ) -> tuple[int, np.ndarray, int]:
        """One call of the clock loop: (words taken, words that came, cycles).

        Ends when `wanted` words came, or, with `wanted` 0, when all `words` were taken; at the
        latest after `max_cycles` or when `capacity` words came. Words not taken must come first
        in the next call; `write`, `read` and `flush` see to it. Raises MemoryRuleError.
        """
        words = np.ascontiguousarray(words, np.uint32)
        output = np.empty(capacity, np.uint32)
        consumed, produced = ctypes.c_size_t(), ctypes.c_size_t()
        cycles = self._library.spikelet_run(
            self._open(), words.ctypes.data, len(words), ctypes.byref(consumed),
            output.ctypes.data, capacity, ctypes.byref(produced), wanted, max_cycles,
        )
        error = self._library.spikelet_memory_error(self._open()).decode()
        if error:
            raise MemoryRuleError(f"external memory: {error}")
        return consumed.value, output[: produced.value], cycles

    def write(self, words: np.ndarray) -> None:
        """Queues words for the device (uint32); no time passes."""
        words = np.asarray(words, np.uint32)
        self._pending = np.concatenate([self._pending, words]) if self.pending else words.copy()

    def read(self, count: int, max_cycles: int = 100_000_000) -> np.ndarray:
        """Runs until `count` words came (uint32), feeding queued words as the device takes them.

        Raises DeviceTimeoutError when they have not come after `max_cycles`.
        """
        parts, missing, cycles = [], count, 0
        while missing:
            if cycles >= max_cycles:
                raise DeviceTimeoutError(
                    f"the simulated device gave {count - missing} of {count} words in {cycles} "
                    f"cycles ({self.pending} words not taken): check the program, or allow more"
                )
            budget = min(_CHUNK_CYCLES, max_cycles - cycles)
            taken, got, passed = self.run(self._pending, missing, missing, budget)
            self._pending = self._pending[taken:]
            parts.append(got)
            missing -= len(got)
            cycles += passed
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)

    def flush(self, max_cycles: int = 100_000_000) -> np.ndarray:
        """Runs until every queued word is taken; returns the words that came meanwhile.

        Raises DeviceTimeoutError when some are not taken after `max_cycles`.
        """
        parts, cycles = [], 0
        while self.pending:
            if cycles >= max_cycles:
                raise DeviceTimeoutError(
                    f"the simulated device left {self.pending} words untaken in {cycles} cycles: "
                    "check the program, or allow more"
                )
            budget = min(_CHUNK_CYCLES, max_cycles - cycles)
            taken, got, passed = self.run(self._pending, 1 << 16, 0, budget)
            self._pending = self._pending[taken:]
            parts.append(got)
            cycles += passed
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)

    def idle(self, cycles: int) -> np.ndarray:
        """Runs for `cycles`, feeding queued words; returns the words that came."""
        parts = []
        while cycles:
            budget = min(_CHUNK_CYCLES, cycles)
            taken, got, passed = self.run(self._pending, budget, budget + 1, budget)
            self._pending = self._pending[taken:]
            parts.append(got)
            cycles -= passed
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)

    def trace(self, on: bool) -> None:
        """Starts or stops the recording of what the device writes (slower while on)."""
        self._library.spikelet_trace_enable(self._open(), on)

    def take_trace(self) -> np.ndarray:
        """The records since the last call, oldest first, as an array of `trace_dtype`."""
        size = self._library.spikelet_trace_bytes(self._open())
        records = np.empty(size // trace_dtype(self.vector_lanes).itemsize,
                           trace_dtype(self.vector_lanes))
        self._library.spikelet_trace_take(self._open(), records.ctypes.data)
        return records

    def waves(self, path: Path | str, first: int = 0, last: int = (1 << 64) - 1) -> None:
        """Writes a VCD of the cycles `first` <= cycle < `last`; needs a library with waves."""
        if not self._library.spikelet_vcd(self._open(), str(path).encode(), first, last):
            raise SpikeletError(
                f"cannot write waveforms to {path}: the folder is missing or closed to you, "
                "or the simulator was built without waves"
            )

    def stop_waves(self) -> None:
        """Finishes the VCD."""
        self._library.spikelet_vcd_close(self._open())

    def _open(self) -> int:
        if self._handle is None:
            raise ValueError("the simulated device is closed")
        return self._handle


def _load(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise SpikeletError(
            f"cannot load the simulator {path} ({error}): remove it, it will be built again"
        ) from None
    device, size, count = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64
    pointer, flag = ctypes.c_void_p, ctypes.c_int
    signatures = {
        "vector_lanes": (ctypes.c_uint32, []),
        "new": (device, []),
        "free": (None, [device]),
        "cycles": (count, [device]),
        "reset": (None, [device, ctypes.c_uint32]),
        "stalls": (None, [device, ctypes.c_double, ctypes.c_double, count]),
        "memory_error": (ctypes.c_char_p, [device]),
        "memory_stalls": (None, [device, ctypes.c_double, count]),
        "run": (count, [device, pointer, size, pointer, pointer, size, pointer, size, count]),
        "trace_enable": (None, [device, flag]),
        "trace_bytes": (size, [device]),
        "trace_take": (None, [device, pointer]),
        "vcd": (flag, [device, ctypes.c_char_p, count, count]),
        "vcd_close": (None, [device]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"spikelet_{name}")
        function.restype, function.argtypes = result, arguments
    return library
