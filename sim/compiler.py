"""Verilog to objects: Verilator, then the C++ compiler on several files at a time."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from isa.errors import SpikeletError
from sim.cache import cached, content_key
from sim.toolchain import Verilator, find_compiler, find_verilator, verilator_version

Progress = Callable[[str, float], None]
"""Called with a stage ("verilate", "compile 3/20", ...) and how much of the build is done, 0..1."""

_HEADERS = ("verilated.h",)
_VPI_HEADERS = ("verilated_vpi.h",)


def run_logged(command: Sequence[str | Path], log: Path, stage: str, **options) -> None:
    """Runs a command with its output appended to the log; SpikeletError when it fails."""
    with open(log, "a") as out:
        print("$", *command, file=out, flush=True)
        try:
            status = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, **options
            ).returncode
        except OSError as error:
            raise SpikeletError(
                f"the simulator build failed ({stage}: cannot run {command[0]}: {error.strerror}); "
                f"see {log}"
            ) from None
    if status:
        raise SpikeletError(
            f"the simulator build failed ({stage} ended with code {status}); see {log}"
        )


def verilate(
    sources: Iterable[Path], top: str, folder: Path, flags: Sequence[str], log: Path
) -> list[Path]:
    """Runs Verilator; the C++ files it wrote (class Vtop, header Vtop.h) in `folder`."""
    tool = find_verilator()
    command = [tool.program, "--cc", "--prefix", "Vtop", "--top-module", top, "--Mdir", folder]
    command += ["-Wno-fatal", "-Wno-lint", "-Wno-style", "--timescale", "1ns/1ps", *flags, *sources]
    run_logged(
        command, log, "verilator", env=tool.environment(), preexec_fn=_unlimited_stack
    )
    return sorted(folder.glob("Vtop*.cpp"))


def _unlimited_stack() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)  # deep recursion on large designs
    resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))


def merge_sources(
    sources: Sequence[Path], folder: Path, name: str, group_bytes: int
) -> list[Path]:
    """Files of about `group_bytes`, of similar size, that include all the sources.

    Reading the headers takes longer than most of the small files that Verilator writes.
    """
    total = sum(source.stat().st_size for source in sources)
    bins: list[list[Path]] = [[] for _ in range(min(max(1, total // group_bytes), len(sources)))]
    sizes = [0] * len(bins)
    for source in sorted(sources, key=lambda path: (-path.stat().st_size, path.name)):
        smallest = sizes.index(min(sizes))
        bins[smallest].append(source)
        sizes[smallest] += source.stat().st_size
    merged = []
    for index, members in enumerate(bins):
        path = folder / f"merged_{name}_{index}.cpp"
        path.write_text("".join(f'#include "{member}"\n' for member in members))
        merged.append(path)
    return merged


def compile_objects(
    units: Sequence[tuple[Path, Sequence[str]]],
    folder: Path,
    log: Path,
    progress: Progress | None = None,
) -> list[Path]:
    """Compiles pairs of (source, flags) into `folder`, as many at a time as there are processors.

    `progress` gets "compile i/n" and i/n. The first failure stops what has not started.
    """
    compiler = find_compiler()
    targets = [folder / f"{source.stem}.o" for source, _ in units]
    workers = max(1, min(len(os.sched_getaffinity(0)), 8))
    with ThreadPoolExecutor(workers) as pool:
        futures = [
            pool.submit(
                run_logged, [compiler, *flags, "-c", source, "-o", target], log, "C++ compiler"
            )
            for (source, flags), target in zip(units, targets, strict=True)
        ]
        for done, future in enumerate(as_completed(futures), 1):
            if future.exception() is not None:
                pool.shutdown(wait=True, cancel_futures=True)
            future.result()
            if progress is not None:
                progress(f"compile {done}/{len(units)}", done / len(units))
    return targets


def model_flags(tool: Verilator, vpi: bool = False, trace: bool = False) -> list[str]:
    """Compiler flags that both Verilator's runtime and the generated C++ need."""
    defines = {"VERILATOR": 1, "VM_COVERAGE": 0, "VM_SC": 0, "VM_TIMING": 0, "VM_TRACE": int(trace)}
    defines |= {"VM_TRACE_FST": 0, "VM_TRACE_SAIF": 0, "VM_TRACE_VCD": int(trace)}
    flags = [f"-D{name}={value}" for name, value in defines.items()]
    flags += [f"-I{tool.include}", f"-I{tool.include / 'vltstd'}", "-std=c++17", "-fPIC", "-w"]
    # VPI's functions are looked up in the program; in a library nothing may meet another's.
    return flags + ([] if vpi else ["-fvisibility=hidden"])


def precompiled(flags: Sequence[str], vpi: bool = False) -> list[str]:
    """Options that give a source, compiled with exactly these flags, Verilator's headers at once.

    Reading them takes longer than compiling most of what Verilator writes for a unit. They are
    compiled once for all designs; a compiler that cannot use the result reads the headers again.
    """
    names = (*_HEADERS, *(_VPI_HEADERS if vpi else ()))
    text = "".join(f'#include "{name}"\n' for name in names)

    def build(folder: Path, log: Path) -> None:
        header = folder / "verilated_all.h"
        header.write_text(text)
        command = [find_compiler(), *flags, "-x", "c++-header", header, "-o", f"{header}.gch"]
        run_logged(command, log, "C++ compiler")

    key = content_key(verilator_version(), find_compiler(), *os.uname()[::4], *flags, text)
    return ["-include", str(cached("headers", key, build) / "verilated_all.h")]


def runtime_objects(vpi: bool = False, trace: bool = False) -> list[Path]:
    """Verilator's own runtime as objects, each part compiled once for all designs.

    None of it depends on whether a design is traced; only the part that looks signals up by name
    (`vpi`) has to be visible outside of the program.
    """
    parts = [(("verilated", "verilated_threads"), False)]
    parts += [(("verilated_dpi", "verilated_vpi"), True)] if vpi else []
    parts += [(("verilated_vcd_c",), False)] if trace else []
    return [path for names, visible in parts for path in _runtime_part(names, visible)]


def _runtime_part(names: Sequence[str], visible: bool) -> list[Path]:
    tool = find_verilator()
    # Benches spend their time in Python: for them, what compiles sooner serves better.
    flags = [*model_flags(tool, visible), "-O1" if visible else "-O2"]

    def build(folder: Path, log: Path) -> None:
        options = [*flags, *precompiled(flags, visible)]
        compile_objects([(tool.include / f"{name}.cpp", options) for name in names], folder, log)

    key = content_key(verilator_version(), *os.uname()[::4], *flags, *names)
    return sorted(cached("runtime", key, build).glob("*.o"))
