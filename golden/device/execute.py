"""What each instruction does, on the golden device's memories."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from golden.device.machine import Fields, Machine
from golden.device.memories import Memories
from golden.device.operations import OPERATIONS
from golden.units import fixed, norm
from golden.units.neuron import spike_response
from golden.units.post import post
from isa.access import Mode, Resource
from isa.formats import CODE, UNITY_MANTISSA
from isa.instructions import Opcode, Scale
from isa.packets import Space

Take = Callable[[Space, int], Iterator[None]]


@dataclass
class Tile:
    """A gathered tile on its way from FIRE to POST: P joined sums and what goes with them."""

    sums: np.ndarray
    exponent: int
    norm: tuple[int, int]


class Executor(Machine):
    """Executes FIRE, POST and VECTOR instructions in program order.

    Args:
        take: `take(space, entries)` is an iterator function that yields while streamed entries
            have not arrived, puts them into memory and returns the address of the first.
        send_logits: gets the elements of a POST with `to_host`.
        checked: every access is held against isa/effects.py.
    """

    def __init__(self, memories: Memories, take: Take,
                 send_logits: Callable[[np.ndarray], None], checked: bool = False) -> None:
        super().__init__(memories, checked)
        self.take, self.send_logits = take, send_logits
        self.tiles: list[Tile] = []
        self.operations = dict(OPERATIONS)
        self._responses: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def begin(self) -> None:
        """Reads settings and tables once, before a run; schedules follow as they are used."""
        self.at.begin()
        self._responses.clear()

    @property
    def settings(self) -> dict[str, int]:
        """The settings of this run."""
        return self.at.settings

    def execute(self, pc: int, f: Fields) -> Iterator[None]:
        """One instruction, its fields unpacked; yields while streamed data has not arrived."""
        self.pc = pc
        self.at.enter(pc, f, self.position, self.token)
        if f["opcode"] == Opcode.FIRE:
            yield from self._fire(f)
        elif f["opcode"] == Opcode.POST:
            yield from self._post(f)
        elif f["opcode"] == Opcode.VECTOR:
            self.operations[f["operation"]](self, f)
        self.at.leave()

    # ---- FIRE -------------------------------------------------------------------------------

    def _response(self, first_step: int) -> tuple[np.ndarray, np.ndarray]:
        """`spike_response` of the schedule at that entry of schedule memory."""
        if first_step not in self._responses:
            schedule = self.m.schedule(self.settings, first_step)
            self.at.touch(Mode.READ, Resource.SCHEDULE, first_step, len(schedule.steps))
            self._responses[first_step] = spike_response(schedule)
        return self._responses[first_step]

    def _norm(self, squares: int, exponent: int) -> tuple[int, int]:
        names = ("mean_mantissa", "mean_shift", "epsilon_mantissa", "epsilon_shift")
        constants = norm.NormConstants(*(self.at.setting(name) for name in names))
        return norm.scalar_of_squares(squares, exponent, constants, self.at.tables)

    def _fire(self, f: Fields) -> Iterator[None]:
        c = self.c
        number = self.position + 1 if f["dynamic_count"] else f["count"]
        outputs = self.position + 1 if f["dynamic_outputs"] else f["outputs"]
        exponent, scalar, first = 0, (0, 0), 0
        if f["one_hot"]:
            first = 0 if f["stream"] else self.token
            fired, spikes, number = np.ones(1, np.int64), np.ones(1, np.int64), 1
        else:
            exponent = self.exponent(f["magnitude"])
            codes = fixed.encode(self.elements(f["source"], number), exponent)
            arrives, each = self._response(f["first_step"])
            fired, spikes = arrives[codes + CODE.maximum], each[codes + CODE.maximum]
            if f["norm"]:
                scalar = self._norm(int(np.sum(codes * fired)), exponent)
        events = int(np.sum(spikes))
        self.count("neurons", number)
        self.count("spikes", events)
        low, high = first // c.cores, -(-(first + number) // c.cores)
        weights = fired.astype(np.float64)
        base = f["row_base"]
        for left in range(outputs, 0, -c.lanes):
            if f["stream"]:
                base = yield from self.take(Space.ROW, f["tile_stride"])
                self.at.move(Mode.TAKE, Resource.ROW_RING, f["tile_stride"])
            # (rows, cores, lanes) flattened: neuron i is row i div G of core i mod G
            rows = self.at.read(Resource.ROW, base + low, high - low).reshape(-1, c.lanes)
            rows = rows[first - low * c.cores :][:number]
            sums = (weights @ rows.astype(np.float64)).astype(np.int64)
            self.at.move(Mode.GIVE, Resource.TILE, 1)
            self.tiles.append(Tile(sums, exponent, scalar))
            self.count("events", events)
            self.count("synaptic_operations", events * min(c.lanes, left))
            base += f["tile_stride"]

    # ---- POST -------------------------------------------------------------------------------

    def _parameters(self, f: Fields, count: int, at: int) -> Iterator[None]:
        """(gain, drop, bias or None) of `count` outputs from parameter word `at`."""
        groups, each = self.words(count), 3 if f["use_bias"] else 1
        if f["stream"]:
            at = yield from self.take(Space.PARAMETER, groups * each)
            self.at.move(Mode.TAKE, Resource.PARAMETER_RING, groups * each)
        words = self.at.read(Resource.PARAMETER, at, groups * each).astype(np.int64)
        words = words.reshape(groups, each, self.c.vector_lanes)
        gains = words[:, 0].ravel()[:count]
        bias = None
        if f["use_bias"]:
            low, high = words[:, 1].ravel()[:count], words[:, 2].ravel()[:count] & 0xFF
            bias = low | (high << 16)
            bias -= (bias >> 23) << 24
        return gains & 0xFF, (gains >> 8) & 0x3F, bias

    def _scale(self, f: Fields, tile: Tile) -> tuple[int, int]:
        """(mantissa, exponent) that a tile's results are multiplied by."""
        if f["scale"] == Scale.NORM:
            return tile.norm
        if f["scale"] == Scale.SCALAR:
            mantissa, exponent = self.at.read(Resource.SCALAR, f["scalar"])[0]
            return int(mantissa), int(exponent)
        return UNITY_MANTISSA, 0

    def _post(self, f: Fields) -> Iterator[None]:
        v = self.c.vector_lanes
        count = self.position + 1 if f["dynamic_count"] else f["count"]
        skip = f["lane_offset"] * v
        each = self.c.lanes - skip
        results, parameters = [], f["parameters"]
        for start in range(0, count, each):
            n, word = min(each, count - start), start // v
            self.at.move(Mode.TAKE, Resource.TILE, 1, skip, n)
            tile = self.tiles.pop(0)
            gain, drop, bias, residual = f["gain"], f["drop"], None, None
            if f["use_parameters"]:
                gain, drop, bias = yield from self._parameters(f, n, parameters)
                parameters += self.words(n) * (3 if f["use_bias"] else 1)
            mantissa, exponent = self._scale(f, tile)
            shift = f["shift"] - exponent - (tile.exponent if f["use_exponent"] else 0)
            if f["key_exponents"]:
                exponents = self.at.read(Resource.KEY_EXPONENT, f["exponent_address"] + word,
                                         self.words(n))
                shift = shift - exponents.reshape(-1)[:n]
            if f["use_residual"]:
                residual = self.elements(f["residual"] + word, n)
            y, clipped = post(
                tile.sums[skip : skip + n], gain, drop, mantissa, shift, bias, residual
            )
            self.count("saturations", clipped)
            results.append(y)
        self._drained(f, np.concatenate(results))

    def _drained(self, f: Fields, y: np.ndarray) -> None:
        """Where the results of a POST go."""
        if f["use_maximum"]:
            self.at.write(Resource.MAXIMUM, f["maximum"], [y.max()])
        if f["argmax"]:
            self.at.touch(Mode.WRITE, Resource.TOKEN, 0)
            self.next_token = int(np.argmax(y))
        if f["to_host"]:
            self.at.move(Mode.GIVE, Resource.LOGITS, len(y))
            self.send_logits(y)
        if f["to_vector"]:
            self.store_magnitudes(f["magnitude"], f["segment"], y, bool(f["join_magnitude"]))
            self.store("post", f["destination"], y)
