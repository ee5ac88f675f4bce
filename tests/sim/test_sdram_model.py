"""The SDRAM model reports every rule of the data sheet that is broken, and nothing else."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from hdl.memory.sdram_timing import SDRAM_32MB
from sim.sdram import NOP, SdramModel

CLOCK_HZ = 100e6
# At 10 ns a cycle: tRCD 3, tRP 3, tRAS 5, tRC 7, tRFC 7, tRRD 2, tWR 2, tMRD 2 cycles.
CHIP = replace(SDRAM_32MB, power_up=200.0, t_ras_maximum=20_000.0)
MODE = 1 | CHIP.cas_latency << 4
CODES = {"mode": 0, "refresh": 1, "precharge": 2, "activate": 3, "write": 4, "read": 5, "burst": 6,
         "nop": 7}  # fmt: skip

Step = tuple[str, int, dict[str, int]]  # command, cycles from the one before, pins


def step(name: str, after: int = 20, **pins: int) -> Step:
    return name, after, pins


ALL = dict(address=1 << 10)
INITIALISE = [step("precharge", 25, **ALL), *(step("refresh", 7) for _ in range(8)),
              step("mode", 7, address=MODE)]  # fmt: skip
ACTIVATE = step("activate", 7, address=5)
DRIVEN = dict(drive=1, data=0x1234)


def run(steps: Iterable[Step], idle: int = 30) -> tuple[SdramModel, list[int]]:
    """Plays commands; the model and what was on the data bus before each cycle."""
    chip, bus, held = SdramModel(CHIP, CLOCK_HZ), [], {}

    def clock(pins: dict[str, int]) -> None:
        bus.append(chip.step(**(NOP | pins)))

    for name, after, pins in steps:
        for _ in range(after - 1):
            clock(held)
            held = {}
        code = CODES[name]
        clock(dict(ras_n=code >> 2 & 1, cas_n=code >> 1 & 1, we_n=code & 1) | pins)
        held = {k: v for k, v in pins.items() if k in ("drive", "data", "dqm") and name == "write"}
    for _ in range(idle):
        clock(held)
        held = {}
    return chip, bus


def good(*steps: Step) -> list[Step]:
    return [*INITIALISE, *steps]


def test_nothing_is_said_of_what_is_right() -> None:
    chip, bus = run(good(
        ACTIVATE, step("write", 3, address=8, **DRIVEN), step("write", 2, address=10, **DRIVEN),
        step("read", 4, address=8), step("activate", 2, bank=1, address=9),
        step("read", 3, bank=1, address=0), step("precharge", 4, **ALL), step("refresh", 3),
        step("activate", 7, address=5), step("read", 3, address=10),
    ))  # fmt: skip
    assert chip.error == ""
    assert bus.count(0x1234) == 4  # two reads of two words that were written
    assert chip.refreshes == 9


def test_words_come_after_the_cas_latency() -> None:
    steps = good(ACTIVATE, step("write", 3, address=8, **DRIVEN), step("read", 4, address=8))
    _, bus = run(steps)
    at = sum(after for _, after, _ in steps) - 1  # the cycle of the READ
    assert [n for n, word in enumerate(bus) if word == 0x1234] == [at + 2, at + 3]


READ, WRITE = step("read", 3), step("write", 3, **DRIVEN)
BROKEN = {
    "power-up": [step("precharge", 19, **ALL)],
    "REFRESH before PRECHARGE": [step("refresh", 30)],
    "mode register before the first refreshes": [INITIALISE[0], *INITIALISE[2:]],
    "mode register: not bursts": [*INITIALISE[:-1], step("mode", 7, address=0x30)],
    "mode register: a bank is open": good(ACTIVATE, step("mode", 9, address=MODE)),
    "ACTIVATE before the mode": [*INITIALISE[:-1], ACTIVATE],
    "tMRD": good(step("activate", 1)),
    "tRFC": good(step("refresh", 9), step("activate", 6)),
    "tRCD": good(ACTIVATE, step("read", 2)),
    "tRAS: PRECHARGE": good(ACTIVATE, step("precharge", 4, **ALL)),
    "tRP: ACTIVATE": good(ACTIVATE, step("precharge", 9, **ALL), step("activate", 2)),
    "tRP: REFRESH": good(ACTIVATE, step("precharge", 9, **ALL), step("refresh", 2)),
    "tRRD": good(ACTIVATE, step("activate", 1, bank=2)),
    "tWR": good(ACTIVATE, WRITE, step("precharge", 2, **ALL)),
    "tRAS maximum": good(ACTIVATE, *(step("nop", 1) for _ in range(2_010))),
    "PRECHARGE cuts": good(ACTIVATE, step("read", 6), step("precharge", 1, **ALL)),
    "cuts a burst short": good(ACTIVATE, READ, step("read", 1)),
    "a bank that is open": good(ACTIVATE, step("activate", 9)),
    "a bank that is closed": good(step("read")),
    "while a bank is open": good(ACTIVATE, step("refresh", 9)),
    "auto-precharge": good(ACTIVATE, step("read", 3, address=1 << 10)),
    "BURST TERMINATE": good(ACTIVATE, step("burst", 3)),
    "not driven": good(ACTIVATE, step("write", 3)),
    "both sides drive": good(ACTIVATE, READ, step("nop", 3, **DRIVEN)),
    "WRITE while read words": good(ACTIVATE, READ, step("write", 2, **DRIVEN)),
    "overdue": good(*(step("nop", 1) for _ in range(8_000))),
    "CKE fell": good(step("nop", 3, cke=0)),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_reported(rule: str) -> None:
    chip, _ = run(BROKEN[rule])
    assert rule in chip.error, chip.error


def test_trc_where_tras_and_trp_do_not_cover_it() -> None:
    chip = SdramModel(replace(CHIP, t_ras=20.0, t_rp=20.0), CLOCK_HZ)
    for name, after, pins in good(ACTIVATE, step("precharge", 3, **ALL), step("activate", 3)):
        for _ in range(after - 1):
            chip.step(**NOP)
        code = CODES[name]
        chip.step(**(NOP | dict(ras_n=code >> 2, cas_n=code >> 1 & 1, we_n=code & 1) | pins))
    assert "tRC: ACTIVATE" in chip.error


def test_contents_outlive_a_power_cycle() -> None:
    """Only the model's cells do: a reset of the simulation is no loss of a loaded model."""
    chip, _ = run(good(ACTIVATE, step("write", 3, address=8, **DRIVEN)))
    chip.power_cycle()
    words = []
    for name, after, pins in good(ACTIVATE, step("read", 3, address=8), step("nop", 6)):
        code = CODES[name]
        for n in range(after):
            now = dict(ras_n=code >> 2, cas_n=code >> 1 & 1, we_n=code & 1) | pins
            words.append(chip.step(**(NOP | (now if n == after - 1 else {}))))
    assert words.count(0x1234) == 2
    assert chip.error == ""
