"""What each instruction does, on the golden device's memories."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from golden.device.memories import Memories, spike_response
from golden.units import attention, fixed, functions, norm
from golden.units.post import post
from isa.formats import CODE, UNITY_MANTISSA
from isa.instructions import Operation, Scale
from isa.packets import Space

# How scores become the weights that mix values; the rest of the two instructions is the same.
WEIGHTS = {Operation.SOFTMAX: attention.softmax, Operation.GATE: attention.gate}


@dataclass
class Tile:
    """A gathered tile on its way from FIRE to POST: P joined sums and what goes with them."""

    sums: np.ndarray
    exponent: int
    norm: tuple[int, int]


@dataclass
class Write:
    """What one instruction writes, as the hardware traces it word by word."""

    unit: str  # "post", "vector", or "key_value" for codes stored in the cache
    pc: int
    address: int  # vector memory word of the first element; 0 for key_value
    data: np.ndarray  # whole words
    position: int
    exponents: np.ndarray | None = None  # of each word of codes


class Executor:
    """Executes FIRE, POST and VECTOR instructions in program order.

    `take(space, words)` is an iterator function that yields while streamed data has not arrived
    and returns the link words; see golden.device.device.
    """

    def __init__(self, memories: Memories, take, send_logits) -> None:
        self.m, self.c = memories, memories.c
        self.take, self.send_logits = take, send_logits
        self.tiles: list[Tile] = []
        self.trace: list[Write] | None = None
        self.position = self.token = self.next_token = 0

    def begin(self) -> None:
        """Reads settings and tables once, before a run; schedules follow as they are used."""
        self.settings = self.m.settings()
        self.tables = self.m.tables()
        self.norm_constants = self.m.norm_constants(self.settings)
        self.responses: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def _response(self, first_step: int) -> tuple[np.ndarray, np.ndarray]:
        """`spike_response` of the schedule at that entry of schedule memory."""
        if first_step not in self.responses:
            self.responses[first_step] = spike_response(self.m.schedule(self.settings, first_step))
        return self.responses[first_step]

    def _count(self, name: str, amount: int) -> None:
        self.m.counters[name] += int(amount)

    def _elements(self, word: int, count: int) -> slice:
        return slice(word * self.c.vector_lanes, word * self.c.vector_lanes + count)

    def _padded(self, values: np.ndarray) -> np.ndarray:
        extra = -len(values) % self.c.vector_lanes
        return np.concatenate([values, np.zeros(extra, dtype=np.int64)]) if extra else values

    def _store(self, unit: str, pc: int, address: int, values: np.ndarray) -> None:
        values = self._padded(values)
        self.m.vector[self._elements(address, len(values))] = values
        if self.trace is not None:
            self.trace.append(Write(unit, pc, address, values.copy(), self.position))

    def _magnitudes(
        self, register: int, segment: int, values: np.ndarray, join: bool = False
    ) -> None:
        size = segment * self.c.vector_lanes if segment else len(values)
        for n, start in enumerate(range(0, len(values), size)):
            new = fixed.magnitude(values[start : start + size])
            old = int(self.m.magnitudes[register + n]) if join else 0
            self.m.magnitudes[register + n] = new | old

    # ---- FIRE -------------------------------------------------------------------------------

    def fire(self, pc: int, f: dict[str, int]) -> Iterator[None]:
        c, m = self.c, self.m
        count = self.position + 1 if f["dynamic_count"] else f["count"]
        outputs = self.position + 1 if f["dynamic_outputs"] else f["outputs"]
        exponent, scalar, first = 0, (0, 0), 0
        if f["one_hot"]:
            first = 0 if f["stream"] else self.token
            codes, fired, number = np.ones(1, np.int64), np.ones(1, np.int64), 1
            per_neuron = 1
        else:
            exponent = fixed.code_exponent(int(m.magnitudes[f["magnitude"]]))
            codes = fixed.encode(m.vector[self._elements(f["source"], count)], exponent)
            response, spikes = self._response(f["first_step"])
            fired, per_neuron = response[codes + CODE.maximum], spikes[codes + CODE.maximum]
            number = count
            if f["norm"]:
                squares = int(np.sum(codes * fired))
                scalar = norm.scalar_of_squares(
                    squares, exponent, self.norm_constants, self.tables
                )
        self._count("neurons", number)
        self._count("spikes", np.sum(per_neuron))
        events = int(np.sum(per_neuron))
        high = -(-(first + number) // c.cores)
        low = first // c.cores
        weights = fired.astype(np.float64)
        base = f["row_base"]
        for left in range(outputs, 0, -c.lanes):
            if f["stream"]:
                base = yield from self.take(Space.ROW, f["tile_stride"])
            # (rows, cores, lanes) flattened: neuron i is row i div G of core i mod G
            rows = m.rows[base + low : base + high].reshape(-1, c.lanes)
            rows = rows[first - low * c.cores :][:number]
            sums = (weights @ rows.astype(np.float64)).astype(np.int64)
            self.tiles.append(Tile(sums, exponent, scalar))
            self._count("events", events)
            self._count("synaptic_operations", events * min(c.lanes, left))
            base += f["tile_stride"]

    # ---- POST -------------------------------------------------------------------------------

    def _parameters(self, f: dict[str, int], count: int, at: int) -> Iterator[None]:
        """(gain, drop, bias or None) of `count` outputs from parameter word `at`."""
        v = self.c.vector_lanes
        groups = -(-count // v)
        each = 3 if f["use_bias"] else 1
        if f["stream"]:
            at = yield from self.take(Space.PARAMETER, groups * each)
        words = self.m.parameters[at : at + groups * each].astype(np.int64)
        words = words.reshape(groups, each, v)
        gains = words[:, 0].ravel()[:count]
        bias = None
        if f["use_bias"]:
            low, high = words[:, 1].ravel()[:count], words[:, 2].ravel()[:count] & 0xFF
            bias = low | (high << 16)
            bias -= (bias >> 23) << 24
        return gains & 0xFF, (gains >> 8) & 0x3F, bias

    def post(self, pc: int, f: dict[str, int]) -> Iterator[None]:
        c, m = self.c, self.m
        count = self.position + 1 if f["dynamic_count"] else f["count"]
        skip = f["lane_offset"] * c.vector_lanes
        each = c.lanes - skip
        results, groups = [], 3 if f["use_bias"] else 1
        parameters = f["parameters"]
        for start in range(0, count, each):
            n = min(each, count - start)
            tile = self.tiles.pop(0)
            gain, drop, bias, residual = f["gain"], f["drop"], None, None
            if f["use_parameters"]:
                gain, drop, bias = yield from self._parameters(f, n, parameters)
                parameters += -(-n // c.vector_lanes) * groups
            mantissa, exponent = UNITY_MANTISSA, 0
            if f["scale"] == Scale.NORM:
                mantissa, exponent = tile.norm
            elif f["scale"] == Scale.SCALAR:
                mantissa, exponent = (int(x) for x in m.scalars[f["scalar"]])
            shift = f["shift"] - exponent - (tile.exponent if f["use_exponent"] else 0)
            if f["key_exponents"]:
                at = f["exponent_address"] * c.vector_lanes + start
                shift = shift - m.key_exponents[at : at + n]
            if f["use_residual"]:
                at = f["residual"] * c.vector_lanes + start
                residual = m.vector[at : at + n]
            y, clipped = post(
                tile.sums[skip : skip + n], gain, drop, mantissa, shift, bias, residual
            )
            self._count("saturations", clipped)
            results.append(y)
        y = np.concatenate(results)
        if f["use_maximum"]:
            m.maxima[f["maximum"]] = y.max()
        if f["argmax"]:
            self.next_token = int(np.argmax(y))
        if f["to_host"]:
            self.send_logits(y)
        if f["to_vector"]:
            self._magnitudes(f["magnitude"], f["segment"], y, bool(f["join_magnitude"]))
            self._store("post", pc, f["destination"], y)

    # ---- VECTOR -----------------------------------------------------------------------------

    def vector(self, pc: int, f: dict[str, int]) -> None:
        operation = Operation(f["operation"])
        count = f["count"] * self.c.vector_lanes
        source = self.m.vector[self._elements(f["source"], count)]
        if operation in (Operation.STORE_KEY, Operation.STORE_VALUE):
            self._store_cache(pc, f, source, operation is Operation.STORE_KEY)
            return
        if operation in WEIGHTS:
            result, clipped = self._weights(f, operation), 0
        elif operation is Operation.ROTATE:
            words = f["segment"] or f["count"]
            base = self.position * self.settings["rotation_stride"]
            table = self.m.rotation[base : base + words].astype(np.int64).ravel()
            heads = source.reshape(-1, words * self.c.vector_lanes)
            result, clipped = attention.rotate(heads, table[0::2], table[1::2])
            result = result.ravel()
        elif operation is Operation.SILU:
            fraction = 12 - self.settings["silu_widen"]
            result, clipped = functions.silu(source, fraction, self.tables), 0
        else:
            operand = self.m.vector[self._elements(f["operand"], count)]
            result, clipped = self._modulate(f, source, operand)
        self._count("saturations", clipped)
        segment = 0 if operation in WEIGHTS else f["segment"]
        self._magnitudes(f["magnitude_out"], segment, result)
        self._store("vector", pc, f["destination"], result)

    def _modulate(
        self, f: dict[str, int], source: np.ndarray, operand: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """Segment by segment, each coded with the exponent of its own magnitude register."""
        size = f["segment"] * self.c.vector_lanes or len(source)
        parts, clipped = [], 0
        for n, start in enumerate(range(0, len(source), size)):
            exponent = fixed.code_exponent(int(self.m.magnitudes[f["magnitude_in"] + n]))
            part, more = attention.modulate(
                source[start : start + size], exponent, operand[start : start + size],
                self.settings["product_shift"],
            )  # fmt: skip
            parts.append(part)
            clipped += more
        return np.concatenate(parts), clipped

    def _weights(self, f: dict[str, int], operation: Operation) -> np.ndarray:
        m, n = self.m, self.position + 1
        at = f["exponent_address"] * self.c.vector_lanes
        alignment = int(m.alignments[f["alignment"]])
        result, mantissa, exponent = WEIGHTS[operation](
            m.vector[self._elements(f["source"], n)],
            m.value_exponents[at : at + n],
            alignment,
            self.tables,
        )
        m.scalars[f["scalar"]] = (mantissa, exponent)
        return result

    def _store_cache(self, pc: int, f: dict[str, int], source: np.ndarray, key: bool) -> None:
        c, m, p = self.c, self.m, self.position
        stored = []
        size = (f["segment"] or f["count"]) * c.vector_lanes
        exponents = m.key_exponents if key else m.value_exponents
        for h, start in enumerate(range(0, len(source), size)):
            e = fixed.code_exponent(int(m.magnitudes[f["magnitude_in"] + h]))
            codes = fixed.encode(source[start : start + size], e).astype(np.int8)
            word = f["exponent_address"] + h * self.settings["exponent_stride"]
            exponents[word * c.vector_lanes + p] = e
            stored.append((codes.astype(np.int64), e))
            flat = np.arange(start, start + size)
            if key:
                base = f["row_base"] + p // c.lanes * self.settings["key_stride"]
                m.rows[base + flat // c.cores, flat % c.cores, p % c.lanes] = codes
            else:
                a = f["alignment"] + h
                m.alignments[a] = e if p == 0 else max(int(m.alignments[a]), e)
                flat = flat + f["operand"] * c.vector_lanes
                row = f["row_base"] + p // c.cores + flat // c.lanes * f["row_stride"]
                m.rows[row, p % c.cores, flat % c.lanes] = codes
        if self.trace is not None:
            data = np.concatenate([codes for codes, _ in stored])
            each = np.repeat([e for _, e in stored], size // c.vector_lanes)
            self.trace.append(Write("key_value", pc, 0, data, p, each))

    def registers_snapshot(self) -> dict[str, np.ndarray]:
        """Copies of the small register files, for a comparison with other devices."""
        m = self.m
        return {n: getattr(m, n).copy() for n in ("magnitudes", "maxima", "scalars", "alignments")}
