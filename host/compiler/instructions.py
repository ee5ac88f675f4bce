"""Instructions as the program collects them, each with its wait fields."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from golden.quantisation.synapses import Synapses
from host.compiler.hazards import Hazards
from host.compiler.layout import Layout
from host.compiler.shapes import ceil
from isa.instructions import RECORDS, Opcode, Operation, Scale
from isa.schedule import Population

Fields = dict[str, int]
ShiftOf = Callable[[Synapses], int]


@dataclass(frozen=True)
class Instruction:
    """An instruction; `label` names what it computes, as docs/numerics.md does.

    map, shift: the field `shift` depends on the exponent of this map, which need not be known
    before its weights are quantised.
    """

    opcode: Opcode
    label: str
    fields: Fields
    map: str | None = None
    shift: ShiftOf | None = None

    def word(self, maps: Mapping[str, Synapses]) -> int:
        """The instruction word. maps: by name; of each the exponent matters."""
        fields = dict(self.fields)
        if self.map is not None and self.shift is not None:
            fields["shift"] = self.shift(maps[self.map])
        return RECORDS[self.opcode].pack(**fields)


@dataclass(frozen=True)
class Source:
    """A vector that fires: its first word, its magnitude register, whose schedule it follows."""

    word: int
    magnitude: int
    population: Population


class Program:
    """Collects instructions. `hazards` gives each its wait fields.

    first_step: where the firing schedule of each population begins in schedule memory.
    """

    def __init__(
        self, layout: Layout, first_step: Mapping[Population, int], hazards: Hazards
    ) -> None:
        self.layout, self.first_step, self._hazards = layout, first_step, hazards
        self.instructions: list[Instruction] = []

    def words(self, maps: Mapping[str, Synapses]) -> list[int]:
        """All instruction words, once the exponent of every map is known."""
        return [instruction.word(maps) for instruction in self.instructions]

    @property
    def labels(self) -> list[str]:
        return [instruction.label for instruction in self.instructions]

    def control(self, opcode: Opcode) -> None:
        """END or HEAD."""
        self.instructions.append(Instruction(opcode, opcode.name.lower(), {"opcode": opcode}))

    def gather(
        self, label: str, source: Source | None, fire: Fields, post: Fields,
        map: str | None = None, shift: ShiftOf | None = None,
    ) -> None:  # fmt: skip
        """A FIRE and the POST that drains its tiles. source: what fires; None: one neuron, once."""
        if source is None:
            fire = dict(one_hot=1, count=1) | fire
        else:
            fire = dict(source=source.word, magnitude=source.magnitude,
                        first_step=self.first_step[source.population]) | fire
        fire, post = _complete(Opcode.FIRE, fire), _complete(Opcode.POST, post)
        waits, post_waits = self._hazards.gather(fire, post)
        self.instructions += [Instruction(Opcode.FIRE, label, fire | waits),
                              Instruction(Opcode.POST, label, post | post_waits, map, shift)]

    def linear(
        self, label: str, map: str, source: Source | None, post: Fields, shift: ShiftOf,
        norm: bool = False,
    ) -> None:  # fmt: skip
        """A linear map, behind an RMSNorm with `norm`: all its inputs fire into all its rows."""
        a = self.layout
        shape, streamed = a.maps[map], map not in a.rows
        rows = 1 if streamed and source is None else ceil(shape.inputs, a.shapes.c.cores)
        fire = dict(tile_stride=rows, outputs=shape.outputs, stream=streamed,
                    row_base=a.rows.get(map, 0), norm=norm)
        if source is not None:
            fire["count"] = shape.inputs
        own = dict(
            count=shape.outputs, use_parameters=1, use_bias=shape.bias,
            parameters=a.parameters.get(map, 0), stream=map not in a.parameters,
            scale=Scale.NORM if norm else Scale.UNITY,
        )  # fmt: skip
        self.gather(label, source, fire, own | post, map, shift)

    def vector(self, label: str, operation: Operation, **fields: int) -> None:
        """A VECTOR instruction."""
        complete = _complete(Opcode.VECTOR, dict(operation=operation, **fields))
        waits = self._hazards.vector(complete)
        self.instructions.append(Instruction(Opcode.VECTOR, label, complete | waits))


def _complete(opcode: Opcode, fields: Fields) -> Fields:
    """All fields of an instruction, those that are not given 0."""
    return dict.fromkeys((f.name for f in RECORDS[opcode].fields), 0) | fields | {"opcode": opcode}
