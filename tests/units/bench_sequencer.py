"""A bench that plays everything around the sequencer: loader, link, and the units it drives."""

from collections import deque

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.lib.shapes import settings_layout
from isa.configurations import Configuration
from isa.instructions import INSTRUCTION_LINK_WORDS
from isa.packets import Space
from isa.registers import Stop
from tests.cocotb_support import Sink, generator, pack
from tests.units.sequencer_model import UNITS, Instruction, Run, Token, expected


class Bench:
    """Plays the loader, the receiver, the transmitter and three units.

    idle: probability that the prompt pauses; stall: that a unit, or the transmitter, is not
    ready. A unit takes instructions while earlier ones go on, and completes them in order, the
    first cycle after it took them or up to `latency` cycles later.
    """

    def __init__(self, dut, c: Configuration, idle: float, stall: float, latency: int = 0) -> None:
        self.dut, self.c = dut, c
        self.idle, self.stall, self.latency = idle, stall, latency
        self.rng = generator(f"sequencer {idle} {stall} {latency}")
        self.cycle = self.position = self.executed = 0
        self.taken: list[tuple[int, Instruction]] = []  # cycle and instruction
        self.made: list[tuple[int, int, int]] = []  # cycle, token, position of what came out
        self.waiting = dict.fromkeys(UNITS, 0)
        self.tokens: deque[Token] = deque()
        self.prompt: deque[int] = deque()
        self.stop_at: int | None = None  # the position, counted from the first run, of STOP
        self._offered = False
        self._held: dict[str, bool] = dict.fromkeys(UNITS, False)
        self._done = dict.fromkeys(UNITS, False)
        self._under_way: dict[str, deque[int]] = {unit: deque() for unit in UNITS}
        self.token_out = Sink(dut, "token_out", 18, stall)
        self.finished = Sink(dut, "finished", 2, stall)
        for port in (dut.start, dut.stop, dut.tables__enable):
            port.value = 0
        self._begin_token()
        self._drive()
        self._task = cocotb.start_soon(self._play())

    async def load(self, code: list[Instruction]) -> None:
        """Writes a program; words 6 and 7 of an instruction and words beyond the end are noise."""
        words = []
        for number, item in enumerate(code):
            raw = item.word | self.rng.getrandbits(64) << 192
            words += [(Space.PROGRAM, number * INSTRUCTION_LINK_WORDS + i, raw >> 32 * i)
                      for i in range(INSTRUCTION_LINK_WORDS)]
        beyond = self.c.program_depth * INSTRUCTION_LINK_WORDS
        words += [(Space.PROGRAM, beyond + i, self.rng.getrandbits(32)) for i in range(8)]
        words += [(Space.PARAMETER, i, self.rng.getrandbits(32)) for i in range(8)]
        for space, address, word in words:
            self.dut.tables__enable.value = 1
            self.dut.tables__space.value = int(space)
            self.dut.tables__address.value = address
            self.dut.tables__data.value = word & 0xFFFFFFFF
            await RisingEdge(self.dut.clk)
        self.dut.tables__enable.value = 0
        self.code = code

    def configure(self, **settings: int) -> None:
        self.settings = {"end_token_enable": 0, "end_token": 0, "rotation_stride": 3,
                         "key_stride": 77, **settings}
        self.dut.settings.value = pack(settings_layout(), self.settings)

    async def run(self, run: Run, timeout: int = 20_000) -> Stop:
        """Executes a run and checks all of it; returns the reason of its end."""
        dut = self.dut
        position = 0 if run.reset else self.position
        tokens, reason = expected(run, self.code, position, self.settings)
        self.tokens = deque(tokens)
        first, before = self.executed, len(self.made)
        self.stop_at = None if run.stop_after is None else first + run.stop_after
        self._begin_token()
        self.prompt.extend(run.prompt)
        dut.start.value, dut.reset_position.value = 1, int(run.reset)
        dut.generate.value, dut.stop.value = run.generate, 0
        await RisingEdge(dut.clk)
        dut.start.value = 0
        made = [(token.made, token.position) for token in tokens if token.made is not None]
        assert await self.token_out.receive(len(made), timeout) == [token for token, _ in made]
        assert await self.finished.receive(1, timeout) == [reason]
        await ClockCycles(dut.clk, 2)
        assert [(token, position) for _, token, position in self.made[before:]] == made
        assert not self.tokens and self.executed == first + len(tokens), "positions not run"
        assert not self.prompt, "prompt tokens are left"
        assert dut.running.value == 0
        self.position = position + len(tokens)
        await self.token_out.silent(5)
        await self.finished.silent(1)
        return reason

    def stop(self) -> None:
        self._task.cancel()
        self.token_out.stop()
        self.finished.stop()

    def _begin_token(self) -> None:
        instructions = self.tokens[0].instructions if self.tokens else []
        self._due = {unit: deque(i for i in instructions if i.unit == unit) for unit in UNITS}
        self._completed = dict.fromkeys(UNITS, 0)

    async def _play(self) -> None:
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            if dut.start.value == 1:
                self.start_cycle = self.cycle
            for unit in UNITS:
                self._observe(unit)
            for unit, done in self._done.items():  # the unit's count follows in the next cycle
                self._completed[unit] += done
            if dut.token_done.value == 1:
                self._end_token()
            if dut.token_out__valid.value == 1 and dut.token_out__ready.value == 1:
                token, position = int(dut.token_out__payload.value), int(dut.token_position.value)
                self.made.append((self.cycle, token, position))
            if self._offered and dut.prompt__ready.value == 1:
                self.prompt.popleft()
                self._offered = False
            self._drive()

    def _observe(self, unit: str) -> None:
        dut = self.dut
        valid = getattr(dut, f"{unit}__valid").value == 1
        assert valid or not self._held[unit], f"{unit}: what was offered was withdrawn"
        taken = valid and getattr(dut, f"{unit}__ready").value == 1
        self._held[unit] = valid and not taken
        if getattr(dut, f"{unit}_waiting").value == 1:
            assert not valid
            self.waiting[unit] += 1
        if not valid:
            return
        assert self._due[unit], f"{unit}: an instruction that is not due"
        item, token = self._due[unit][0], self.tokens[0]
        payload = int(getattr(dut, f"{unit}__payload").value)
        assert payload == item.word, f"{unit}: {item.word:#x} expected, {payload:#x}"
        for other, count in item.waits.items():
            completed = self._completed[other]
            assert completed >= count, f"{unit} began at {completed} of {count} {other}"
        self._check_position(token)
        if taken:
            self._due[unit].popleft()
            self._under_way[unit].append(self.cycle + self.rng.randint(0, self.latency))
            self.taken.append((self.cycle, item))
            if self.executed == self.stop_at:
                dut.stop.value = 1

    def _check_position(self, token: Token) -> None:
        dut, position = self.dut, token.position
        assert int(dut.token.value) == token.token
        assert int(dut.position.value) == position
        base = position * self.settings["rotation_stride"] & 0xFFFF
        assert int(dut.rotation_base.value) == base
        offset = position // self.c.lanes * self.settings["key_stride"] & 0xFFFFF
        assert int(dut.key_row_offset.value) == offset
        assert dut.running.value == 1 and dut.busy.value == 1

    def _end_token(self) -> None:
        assert self.tokens, "a position that is not due"
        assert not any(self._due.values()), f"not dispatched: {self._due}"
        assert not any(self._under_way.values()), "ended while a unit works"
        self.executed += 1
        self.tokens.popleft()
        self._begin_token()

    def _drive(self) -> None:
        """What holds in the next cycle."""
        dut, rng = self.dut, self.rng
        for unit, under_way in self._under_way.items():
            getattr(dut, f"{unit}__ready").value = int(rng.random() >= self.stall)
            done = bool(under_way) and under_way[0] <= self.cycle
            if done:
                under_way.popleft()
            getattr(dut, f"{unit}_done").value = int(done)
            self._done[unit] = done
            if unit == "post" and done:  # the last POST of a position gives the next token
                made = self.tokens[0].made
                last = made is not None and not under_way and not self._due["post"]
                dut.next_token.value = made if last else rng.getrandbits(18)
        self._offered = bool(self.prompt) and (self._offered or rng.random() >= self.idle)
        dut.prompt__valid.value = int(self._offered)
        dut.prompt__payload.value = self.prompt[0] if self._offered else rng.getrandbits(18)
        dut.prompt_last.value = int(len(self.prompt) == 1) if self._offered else rng.getrandbits(1)
