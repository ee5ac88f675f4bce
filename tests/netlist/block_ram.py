"""ECP5 block RAM in plain Python, bit by bit, and the cells that the model is tested with."""

from collections.abc import Iterator
from dataclasses import dataclass, field

WIDTHS = (1, 2, 4, 9, 18)
WRITE_MODES = ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE")
REGISTER_MODES = ("NOREG", "OUTREG")
RESET_MODES = (("SYNC", "SYNC"), ("ASYNC", "ASYNC"), ("ASYNC", "SYNC"))
BITS = 512 * 36


@dataclass(frozen=True)
class Cell:
    """Parameters of one cell; those of ports A and B as pairs."""

    kind: str = "DP16KD"
    widths: tuple[int, int] = (18, 18)
    write_modes: tuple[str, str] = ("NORMAL", "NORMAL")
    register_modes: tuple[str, str] = ("NOREG", "NOREG")
    reset: tuple[str, str] = ("SYNC", "SYNC")  # RESETMODE, ASYNC_RESET_RELEASE
    selects: tuple[int, int] = (0, 0)
    split: bool = False  # port B has a clock of its own
    inverted: bool = False  # ... of which it takes the falling edge

    @property
    def pseudo(self) -> bool:
        """Port A only writes, 36 bits."""
        return self.widths[0] == 36


def cells() -> list[Cell]:
    """Every pair of widths and, for each width, every mode."""
    result = []
    for i, width_a in enumerate(WIDTHS):
        for j, width_b in enumerate(WIDTHS):
            result.append(Cell(
                widths=(width_a, width_b),
                write_modes=(WRITE_MODES[(i + j) % 3], WRITE_MODES[(i + 2 * j) % 3]),
                register_modes=(REGISTER_MODES[(i + j) % 2], REGISTER_MODES[j % 2]),
                reset=RESET_MODES[(2 * i + j) % 3],
                selects=(0, 3) if (i, j) == (4, 2) else (5, 0) if (i, j) == (3, 3) else (0, 0),
            ))  # fmt: skip
    for i, width in enumerate((*WIDTHS, 36)):
        for j, mode in enumerate(REGISTER_MODES):
            common = {"widths": (36, width), "register_modes": (mode, mode),
                      "reset": RESET_MODES[(i + j) % 3]}  # fmt: skip
            result.append(Cell(**common))
            result.append(Cell(kind="PDPW16KD", **common, selects=(0, 6) if i == 1 else (0, 0)))
    for j, reset in enumerate(RESET_MODES):
        result.append(Cell(register_modes=("OUTREG", "NOREG"), reset=reset, split=True,
                           write_modes=(WRITE_MODES[j], WRITE_MODES[j - 1])))  # fmt: skip
    result.append(Cell(widths=(36, 9), register_modes=("NOREG", "OUTREG"), split=True))
    result.append(Cell(widths=(4, 9), split=True, inverted=True))
    result.append(Cell(kind="PDPW16KD", widths=(36, 36), register_modes=("OUTREG", "OUTREG"),
                       split=True, inverted=True))  # fmt: skip
    return result


@dataclass
class Pins:
    """Inputs of one port but its clock."""

    ad: int = 0
    di: int = 0
    ce: int = 0
    oce: int = 0
    we: int = 0
    rst: int = 0
    cs: int = 0


Bit = int | None
"""None: not defined."""


@dataclass
class _Port:
    latch: list[Bit] = field(default_factory=lambda: [0] * 36)
    register: list[Bit] = field(default_factory=lambda: [0] * 36)
    late: bool = False  # an asynchronous reset that the clock has not ended yet


class PlainBlockRam:
    """What a cell does; `initial` is the INITVALs one after the other, INITVAL_00 lowest."""

    def __init__(self, cell: Cell, initial: int) -> None:
        self.cell = cell
        self.sync = cell.reset[0] == "SYNC"
        self.bits: list[Bit] = []
        for word in range(BITS // 18):
            self.bits += [initial >> (20 * word + k) & 1 for k in range(18)]
        self.ports = (_Port(), _Port())
        self.collisions = 0

    def _span(self, port: int, ad: int) -> range:
        """Which bits a port sees at an address."""
        width = self.cell.widths[port]
        if width >= 9:
            first = (ad >> {9: 3, 18: 4, 36: 5}[width]) * width
        else:
            first = (ad >> 3) * 9 + (ad & 7 & -width)
        return range(first, first + width)

    def _accesses(self, port: int, pins: Pins) -> bool:
        selected = pins.ce and pins.cs == self.cell.selects[port]
        return bool(selected and not (self.sync and pins.rst))

    def _writes(self, port: int, pins: Pins) -> dict[int, int]:
        """The bits that a port writes at a clock edge."""
        if not self._accesses(port, pins) or not pins.we or (self.cell.pseudo and port == 1):
            return {}
        enables = pins.ad if self.cell.widths[port] >= 18 else 1
        span = self._span(port, pins.ad)
        return {at: pins.di >> k & 1 for k, at in enumerate(span) if enables >> k // 9 & 1}

    def edge(self, pins: tuple[Pins, Pins], rose: tuple[bool, bool]) -> None:
        """Clock edges of one or both ports at one instant."""
        old = self.bits
        writes = [self._writes(p, pins[p]) if rose[p] else {} for p in (0, 1)]
        self.bits = list(old)
        for at in writes[0].keys() | writes[1].keys():
            both = at in writes[0] and at in writes[1]
            self.bits[at] = None if both else writes[0].get(at, writes[1].get(at))
        for p in (0, 1):
            if rose[p]:
                self._registers(p, pins[p])
                if self._accesses(p, pins[p]) and not (self.cell.pseudo and p == 0):
                    self._latch(p, pins[p], old, writes)
        self.level(pins, rose)

    def _latch(self, p: int, pins: Pins, old: list[Bit], writes: list[dict[int, int]]) -> None:
        latch, mode = self.ports[p].latch, self.cell.write_modes[p]
        for k, at in enumerate(self._span(p, pins.ad)):
            if not pins.we or (self.cell.pseudo and p == 1) or mode == "READBEFOREWRITE":
                latch[k] = None if at in writes[1 - p] else old[at]
                self.collisions += at in writes[1 - p]
            elif mode == "WRITETHROUGH" and at in writes[p]:
                latch[k] = self.bits[at]

    def _registers(self, p: int, pins: Pins) -> None:
        port = self.ports[p]
        if pins.oce:
            port.register = [0] * 36 if pins.rst or port.late else list(port.latch)
        if not pins.rst:
            port.late = False

    def level(self, pins: tuple[Pins, Pins], high: tuple[bool, bool]) -> None:
        """Resets that need no clock edge; `high` are the clocks' levels."""
        for p in (0, 1):
            port = self.ports[p]
            if not pins[p].rst:
                continue
            if not self.sync or high[p]:
                port.latch = [0] * 36
            if not self.sync:
                port.register = [0] * 36
                port.late = self.cell.reset[1] == "SYNC"

    def _pins(self, p: int) -> Iterator[Bit]:
        port, width = self.ports[p], self.cell.widths[p]
        shown = port.register if self.cell.register_modes[p] == "OUTREG" else port.latch
        for k in range(18):
            if width >= 18:
                yield shown[k]
            elif width == 9:
                yield shown[k % 9]
            else:
                yield 0 if k % 9 == 8 else shown[k % 9 % width]

    def outputs(self) -> tuple[list[Bit], list[Bit]]:
        """The pins DOA and DOB, or of PDPW16KD DO17..DO0 and DO35..DO18."""
        if self.cell.widths[1] == 36:
            port = self.ports[1]
            shown = port.register if self.cell.register_modes[1] == "OUTREG" else port.latch
            result = shown[:18], shown[18:]
        else:
            result = [0] * 18 if self.cell.pseudo else list(self._pins(0)), list(self._pins(1))
        return result if self.cell.kind == "DP16KD" else result[::-1]
