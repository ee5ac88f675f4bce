"""Builds a Verilated top as a shared library with a harness's C interface, cached by content."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from sim import compiler, transform
from sim.cache import atomic_file, cache_root, cached, content_key, lookup
from sim.compiler import Progress
from sim.toolchain import find_compiler, find_verilator, verilator_version

TOP = "spikelet_device"
"""The Verilog module that the harness drives."""


@dataclass(frozen=True)
class Harness:
    """A C++ file that drives the Verilated module `top`. `kind` is the folder of such simulators in
    the cache. The source may include the headers, whose contents then belong to the key.
    """

    kind: str
    top: str
    source: Path
    headers: tuple[Path, ...] = ()

    @property
    def library(self) -> str:
        return f"lib{self.top}.so"


DEVICE = Harness("device", TOP, Path(__file__).with_name("harness.cc"),
                 (Path(__file__).with_name("sdram.h"),))

_STARTED = time.time()
_ROOT = Path(__file__).resolve().parents[1]
_VERILATOR_FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "0", "--noassert")
_VERILATOR_FLAGS += ("--threads", "1", "--output-split", "5000")
_GROUP_BYTES = 400_000
# Of code that runs in every cycle, and of code that runs once (constructors, initial values).
# With SPIKELET_OPTIMISE=-O1 a simulator compiles in two thirds of the time and runs a fifth slower.
_FAST, _SLOW = os.environ.get("SPIKELET_OPTIMISE", "-O2"), "-O0"
# How much of a build's time has passed behind each of its stages, on two cores.
_ELABORATED, _VERILATED, _COMPILED = 0.35, 0.45, 0.98


def build_library(
    source: str | Callable[[], str],
    vector_lanes: int,
    *,
    identity: str | None = None,
    waves: bool = False,
    definitions: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """The path of the shared library of a device: `build_simulator` with the device's harness.

    `vector_lanes` is V, the elements of a word on the trace ports. `definitions` are more macros
    (sim.memory). The rest is handed on.
    """
    macros = {"SPIKELET_VECTOR_LANES": str(vector_lanes), **(definitions or {})}
    defines = tuple(f"-D{name}={value}" for name, value in macros.items())
    return build_simulator(
        DEVICE, source, defines, identity=identity, waves=waves, progress=progress
    )


def build_simulator(
    harness: Harness,
    source: str | Callable[[], str],
    defines: tuple[str, ...] = (),
    *,
    identity: str | None = None,
    waves: bool = False,
    progress: Progress | None = None,
) -> Path:
    """The path of the shared library of a Verilated top, from the cache or built.

    `source` is the Verilog of the module `harness.top`, or a function that makes it. Making
    it takes seconds for a large device: with `identity`, which together with the sources of hdl/
    and isa/ must determine the text (repr(configuration) does), a cached library is found without
    calling `source`. `defines` are flags for the harness. `waves` builds one that can write a
    VCD and is slower.

    `progress(stage, fraction)` is called as the build goes on, with the stages elaborate,
    verilate, compile i/n, link; not at all when the library is in the cache. Raises SpikeletError
    when a tool is missing or fails; the message then names the log, and nothing is left behind.
    """
    tell = progress or (lambda stage, fraction: None)
    pointer = _pointer(harness, identity, defines, waves)
    if pointer is not None:
        with contextlib.suppress(OSError):
            entry = lookup(harness.kind, pointer.read_text())
            if entry is not None:
                return entry / harness.library
    if not isinstance(source, str):
        find_compiler()  # before the user waits
        tell("elaborate", 0.0)
        source = source()
    key = content_key(source, *_build_inputs(harness, defines, waves))

    def build(folder: Path, log: Path) -> None:
        _build(harness, source, defines, waves, folder, log, tell)

    library = cached(harness.kind, key, build) / harness.library
    if pointer is not None and pointer == _pointer(harness, identity, defines, waves):
        with atomic_file(pointer) as temporary:
            temporary.write_text(key)
    return library


def _build_inputs(harness: Harness, defines: tuple[str, ...], waves: bool) -> list[str | Path]:
    """Everything that determines a library, but its Verilog."""
    flags = [*_VERILATOR_FLAGS, _FAST, _SLOW, harness.top, *defines, str(waves)]
    files = [harness.source, *harness.headers, Path(__file__)]
    files += [Path(part.__file__) for part in (compiler, transform)]
    return [*flags, verilator_version(), *os.uname()[::4], *files]


def _pointer(
    harness: Harness, identity: str | None, defines: tuple[str, ...], waves: bool
) -> Path | None:
    """The file that holds the content key of what `identity` elaborates to.

    None when a source was edited after this process began, since it may have imported the older
    one: then nothing is known without elaboration.
    """
    sources = sorted([*_ROOT.glob("hdl/**/*.py"), *_ROOT.glob("isa/**/*.py")])
    if identity is None or any(path.stat().st_mtime > _STARTED for path in sources):
        return None
    key = content_key(
        identity, metadata.version("amaranth"), *_build_inputs(harness, defines, waves),
        *(str(path.relative_to(_ROOT)) for path in sources), *sources,
        *(Path(__file__).with_name(name)
          for name in ("verilog.py", "device_verilog.py", "memory.py")),
    )
    return cache_root() / harness.kind / f"{key}.entry"


def _build(
    harness: Harness, source: str, defines: tuple[str, ...], waves: bool,
    folder: Path, log: Path, tell: Progress,
) -> None:  # fmt: skip
    tool = find_verilator()
    verilog = folder / f"{harness.top}.v"
    verilog.write_text(transform.for_speed(source, harness.top))
    work = folder / "work"
    work.mkdir()
    tell("verilate", _ELABORATED)
    flags = [*_VERILATOR_FLAGS, *(["--trace-vcd"] if waves else [])]
    sources = compiler.verilate([verilog], harness.top, work, flags, log)

    common = compiler.model_flags(tool, trace=waves)
    beside = [f"-I{harness.source.parent}", *defines, f"-I{work}"]
    slow = [path for path in sources if "__Slow" in path.name]
    fast = [path for path in sources if path not in slow]
    units = []
    for name, members, level in (("fast", fast, _FAST), ("slow", slow, _SLOW)):
        options = [*common, level]
        options += [*compiler.precompiled(options), *beside]
        merged = compiler.merge_sources(members, work, name, _GROUP_BYTES)
        units += [(path, options) for path in merged]
    units.insert(0, (harness.source, units[0][1]))

    def compiling(stage: str, fraction: float) -> None:
        tell(stage, _VERILATED + (_COMPILED - _VERILATED) * fraction)

    compiling("compile", 0.0)
    objects = compiler.compile_objects(units, work, log, compiling)
    objects += compiler.runtime_objects(trace=waves)
    tell("link", _COMPILED)
    command = [find_compiler(), "-shared", "-Wl,-Bsymbolic", "-pthread"]
    compiler.run_logged([*command, "-o", folder / harness.library, *objects], log, "linker")
    shutil.rmtree(work)
    tell("link", 1.0)
