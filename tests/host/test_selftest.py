"""The self-test finds what is broken in a device, and says where."""

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from golden.device.execute import Executor
from golden.device.operations import store_value, weigh
from golden.units import attention
from host.selftest import check_external
from host.transport.golden import GoldenTransport
from isa.access import Resource
from isa.configurations import configuration
from isa.instructions import Operation
from isa.packets import Space
from isa.registers import REGISTERS

OPTIONS = ("selftest", "--device", "golden", "--config", "tiny", "--max-new-tokens", 4)


def test_a_device_with_external_memory_passes(run):
    result = run(*OPTIONS, "--config", "tiny_sdram", "--quick")
    assert (result.status, result.out.splitlines()[-1]) == (0, "pass"), result.out
    for name in ("external memory", "generation, random model, weights external"):
        assert re.search(rf"^{name} +pass ", result.out, re.MULTILINE), name


def test_a_broken_address_line_of_external_memory():
    c = configuration("tiny_sdram")
    board = GoldenTransport(c)
    assert check_external(board, c, 1).difference is None
    memories, line = board.device.memories, 1 << 9
    write, read = memories.write, memories.read

    def broken(space, address, words):
        write(space, address & ~line if space is Space.EXTERNAL else address, words)

    memories.write = broken
    memories.read = lambda space, address, length: read(
        space, address & ~line if space is Space.EXTERNAL else address, length)
    assert re.match(r"word \d+: expected 0x", check_external(board, c, 1).difference)


def test_a_good_device_passes(run):
    result = run(*OPTIONS)
    assert (result.status, result.out.splitlines()[-1]) == (0, "pass")
    for name in ("link", "registers", "row memory", "fire and post", "rotate", "store key",
                 "store value", "softmax", "gate", "silu", "modulate", "generation, stories"):
        assert re.search(rf"^.*{name}.* +pass ", result.out, re.MULTILINE), name
    assert "DIFFERS" not in result.out


def _stuck_bit(transport: GoldenTransport) -> None:
    """One bit of row memory is always 0."""
    memories = transport.device.memories
    write = memories.write

    def broken(space, address, words):
        write(space, address, words)
        memories.link[Space.ROW][777] &= np.uint32(0xFFFF_FEFF)

    memories.write = broken


def _aliased_rows(transport: GoldenTransport) -> None:
    """The highest address line of row memory is broken."""
    memories = transport.device.memories
    write, half = memories.write, memories.link[Space.ROW].size // 2

    def broken(space, address, words):
        write(space, address, words)
        if space is Space.ROW and address + len(words) > half:
            above = max(address - half, 0)
            low = words[max(half - address, 0) :]
            memories.link[Space.ROW][above : above + len(low)] = low

    memories.write = broken


def _narrow_register(transport: GoldenTransport) -> None:
    memories = transport.device.memories
    write, address = memories.write, REGISTERS["key_stride"].address

    def broken(space, at, words):
        write(space, at, words)
        memories.link[Space.REGISTER][address] &= 0x7FFF

    memories.write = broken


def _unit(name: str, change: Callable[[np.ndarray], np.ndarray]):
    """One element of what the executor stores is changed, where `name` is in its label."""

    def breaks(transport: GoldenTransport) -> None:
        executor: Executor = transport.device.executor
        store = executor.store

        def broken(unit, address, values):
            if unit == name:
                values = change(values)
            store(unit, address, values)

        executor.store = broken

    return breaks


def _plus_one(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[-1] += 1
    return values


def _softmax(transport: GoldenTransport) -> None:
    def softmax(*arguments):
        result, mantissa, exponent = attention.softmax(*arguments)
        return result + 1, mantissa, exponent

    transport.device.executor.operations[Operation.SOFTMAX] = partial(weigh, softmax)


def _value_cache(transport: GoldenTransport) -> None:
    """Values arrive halved: their magnitudes are not, so the exponents stay."""

    def store_half(x: Executor, f: dict[str, int]) -> None:
        source = x.m.resources[Resource.VECTOR][f["source"] : f["source"] + f["count"]]
        whole = source.copy()
        source //= 2
        store_value(x, f)
        source[:] = whole

    transport.device.executor.operations[Operation.STORE_VALUE] = store_half


@pytest.mark.parametrize("broken, where", [
    (_stuck_bit, "row memory: row 194 of core 0, link word 777: expected 0x"),
    (_aliased_rows, "row memory: row "),
    (_narrow_register, "registers: key_stride: expected 0xffff, got 0x7fff"),
    (_unit("post", _plus_one), "fire and post.*: embedding, position 2, element "),
    (_softmax, r"vector unit: softmax.*: layers\.0\..*position 2, element 0: expected"),
    (_value_cache, r"vector unit: store value.*: layers\.0\..*, row \d+ of core \d, lane \d: "),
])  # fmt: skip
def test_a_broken_device_differs(run, monkeypatch, broken, where):
    opened = []

    def open_broken(c):
        opened.append(GoldenTransport(c))
        if len(opened) == 1:  # the board; those that follow are what it is compared with
            broken(opened[0])
        return opened[-1]

    monkeypatch.setattr("host.transport.golden.GoldenTransport", open_broken)
    monkeypatch.setattr("host.selftest.GoldenTransport", open_broken)
    result = run(*OPTIONS)
    assert result.status == 1, result.out
    assert re.match("FAIL: " + where, result.out.splitlines()[-1]), result.out.splitlines()[-1]
    assert result.out.count("DIFFERS") == 1
