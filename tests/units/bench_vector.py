"""What surrounds the vector unit in its test: memories, registers, stalls, and the comparison."""

from collections import deque

import cocotb
from amaranth.hdl import signed
from cocotb.triggers import FallingEdge, RisingEdge

from hdl.lib.shapes import (
    codes_layout,
    row_write_layout,
    scalar_layout,
    settings_layout,
    vector_write_layout,
)
from isa.formats import EXPONENT, TRIGONOMETRIC, VECTOR
from isa.instructions import VECTOR as INSTRUCTION
from isa.instructions import Opcode, Operation
from tests.cocotb_support import Source, generator, pack, unpack
from tests.units.groups import grouped
from tests.units.vector_model import VectorModel, Written


class Bench:
    """Runs programs on the unit and compares its writes with the model's whenever it is done."""

    def __init__(self, dut, model: VectorModel, stall: float, idle: float):
        self.dut, self.model, self.stall = dut, model, stall
        self.rng = generator(f"bench {model.c.name} {stall}")
        self.source = Source(dut, "instruction", idle=idle)
        self.expected: deque[tuple[dict, Written]] = deque()
        self.seen = Written()
        self.started: deque[int] = deque()
        self.cycle = 0
        self.durations: list[tuple[Operation, int, int]] = []  # words, cycles until done
        self.settle()
        self._tasks = [cocotb.start_soon(self._registers()), cocotb.start_soon(self._clocked())]

    def settle(self) -> None:
        """Takes over the model's state, which others changed; only while the unit is idle."""
        dut, model = self.dut, self.model
        self.memory, self.exponents = model.memory.copy(), model.exponents.copy()
        self.late_exponents = [0, 0]  # the words that were read one and two cycles ago
        self.magnitudes, self.maxima = model.magnitudes.tolist(), model.maxima.tolist()
        dut.position.value = model.position
        dut.rotation_base.value = model.rotation_base
        dut.key_row_offset.value = model.key_row_offset
        dut.settings.value = pack(settings_layout(), model.settings)

    async def run(self, program: list[dict]) -> None:
        """Executes instructions (fields by name) back to back and waits until all are done."""
        for fields in program:
            self.expected.append((fields, self.model.execute(fields)))
        self.source.put([INSTRUCTION.pack(opcode=Opcode.VECTOR, **f) for f in program])
        for _ in range(50_000):
            await RisingEdge(self.dut.clk)
            if not self.expected:
                return
        raise AssertionError(f"not done: {self.expected[0][0]}")

    def stop(self) -> None:
        self.source.stop()
        for task in self._tasks:
            task.cancel()

    async def _registers(self) -> None:
        """Register files answer in the cycle of the address."""
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            register = int(dut.magnitude_in__address.value)
            magnitude = self.magnitudes[register % len(self.magnitudes)]
            dut.magnitude_in__data.value = grouped(magnitude, VECTOR.bits)
            maximum = self.maxima[int(dut.maximum__address.value) % len(self.maxima)]
            dut.maximum__data.value = pack(signed(VECTOR.bits), maximum)

    async def _clocked(self) -> None:
        dut = self.dut
        ports = {
            name: tuple(getattr(dut, f"{name}__{part}") for part in ("payload", "valid", "ready"))
            for name in ("vector_write", "row_write")
        }
        held: dict[str, int] = {}
        ready = dict.fromkeys(ports, False)
        for _, _, ready_port in ports.values():
            ready_port.value = 0
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            self._read()
            for name, (payload_port, valid_port, ready_port) in ports.items():
                payload = int(payload_port.value) if valid_port.value == 1 else None
                if name in held:
                    assert payload == held.pop(name), f"{name} changed before it was taken"
                if payload is not None and ready[name]:
                    getattr(self, f"_{name}")(payload)
                elif payload is not None:
                    held[name] = payload
                ready[name] = self.rng.random() >= self.stall
                ready_port.value = int(ready[name])
            dut.memory__grant.value = int(self.rng.random() >= self.stall)
            self._sample()
            if dut.done.value == 1:
                self._compare()
            if dut.instruction__valid.value == 1 and dut.instruction__ready.value == 1:
                self.started.append(self.cycle)

    def _read(self) -> None:
        """Vector memory answers a cycle after the address, with what was there before this cycle;
        the exponents' memory two cycles later."""
        dut = self.dut
        dut.memory__data.value = self._word(int(dut.memory__address.value))
        dut.value_exponents__data.value = self.late_exponents.pop(0)
        word, mask = 0, (1 << EXPONENT.bits) - 1
        at = int(dut.value_exponents__address.value) % len(self.exponents)
        for exponent in self.exponents[at][::-1]:
            word = word << EXPONENT.bits | (int(exponent) & mask)
        self.late_exponents.append(word)

    def _word(self, address: int) -> int:
        """A word of vector memory; behind the vectors two words of the rotation table in one."""
        elements, bits = self.memory[address % len(self.memory)], VECTOR.bits
        if address >= len(self.memory):
            pair = 2 * (address - len(self.memory)) % len(self.model.rotation)
            elements, bits = self.model.rotation[pair : pair + 2].reshape(-1), TRIGONOMETRIC.bits
        return sum((int(v) & ((1 << bits) - 1)) << i * bits for i, v in enumerate(elements))

    def _vector_write(self, payload: int) -> None:
        write = unpack(vector_write_layout(self.model.c), payload)
        self.memory[write["address"] % len(self.memory)] = write["data"]
        self.seen.vector.append((write["address"], tuple(write["data"])))

    def _row_write(self, payload: int) -> None:
        c, layout = self.model.c, row_write_layout(self.model.c)
        write = unpack(layout, payload)
        self.seen.row_writes += 1
        for core in range(c.cores):
            for lane in range(c.lanes):
                if write["cores"] >> core & 1 and write["lanes"] >> lane & 1:
                    byte = write["data"][core if write["spread"] else lane % len(write["data"])]
                    value = byte - 256 if byte > 127 else byte
                    key = (core, write["address"], lane)
                    assert key not in self.seen.rows, f"{key} is written twice"
                    self.seen.rows[key] = value

    def _sample(self) -> None:
        dut, seen = self.dut, self.seen
        seen.saturations += int(dut.saturations.value)
        if dut.magnitude_write__enable.value == 1:
            address = int(dut.magnitude_write__address.value)
            value = int(dut.magnitude_write__data.value)
            self.magnitudes[address % len(self.magnitudes)] = value
            seen.magnitudes.append((address, value))
        if dut.scalar_write__enable.value == 1:
            scalar = unpack(scalar_layout(), int(dut.scalar_write__data.value))
            address = int(dut.scalar_write__address.value)
            seen.scalars.append((address, scalar["mantissa"], scalar["exponent"]))
        for name in ("key", "value"):
            if getattr(dut, f"{name}_exponent_write__enable").value == 1:
                address = int(getattr(dut, f"{name}_exponent_write__address").value)
                lanes = int(getattr(dut, f"{name}_exponent_write__lanes").value)
                data = getattr(dut, f"{name}_exponent_write__data").value.to_signed()
                lane = lanes.bit_length() - 1
                assert lanes == 1 << lane
                getattr(seen, f"{name}_exponents").append((address, lane, data))
                if name == "value":
                    self.exponents[address, lane] = data
        if dut.key_value_valid.value == 1:
            codes = unpack(codes_layout(self.model.c), int(dut.key_value_codes.value))
            seen.trace.append((tuple(codes), dut.key_value_exponent.value.to_signed()))

    def _compare(self) -> None:
        assert self.expected, "done without an instruction"
        fields, expected = self.expected.popleft()
        seen, self.seen = self.seen, Written()
        operation, words = Operation(fields["operation"]), fields.get("count", 0)
        if operation in (Operation.SOFTMAX, Operation.GATE):
            words = self.model.position // self.model.c.vector_lanes + 1
        self.durations.append((operation, words, self.cycle - self.started.popleft()))
        name = operation.name
        for part, wanted in vars(expected).items():
            got = getattr(seen, part)
            assert got == wanted, f"{name} {fields}: {part}\nexpected {wanted}\ngot      {got}"


