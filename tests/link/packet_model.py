"""What the receiver must do with packets from the host."""

from dataclasses import dataclass

from isa.configurations import Configuration
from isa.packets import HEADER, HEADER_WORDS, Fault, Kind, RunFlag, Space
from tests.cocotb_support import generator

READABLE = (Space.ROW, Space.VECTOR, Space.REGISTER)
WRITABLE = set(Space) - {Space.VECTOR, Space.EXTERNAL}  # of a device without external memory
STREAMED = (Space.ROW, Space.PARAMETER)
TABLE_WORDS = 1 << 16  # link words that tables.address reaches
ROWS = 1 << 20  # rows that a row write reaches

Event = tuple


@dataclass(frozen=True)
class Packet:
    """A packet from the host, `kind` and `space` any bytes; READ has a length and no payload."""

    kind: int
    space: int = 0
    flags: int = 0
    value: int = 0
    payload: tuple[int, ...] = ()
    length: int | None = None

    @property
    def words(self) -> list[int]:
        length = len(self.payload) if self.length is None else self.length
        header = HEADER.pack(
            kind=self.kind, space=self.space, flags=self.flags, value=self.value, length=length
        )
        return [header >> 32 * i & 0xFFFFFFFF for i in range(HEADER_WORDS)] + list(self.payload)


class Ring:
    """Where the entries of a ring go: anywhere that the ports reach, known in advance."""

    def __init__(self, c: Configuration, space: Space) -> None:
        pair_bits = (c.vector_lanes // 2).bit_length() - 1
        self._bits = 20 if space is Space.ROW else 16 - pair_bits
        self._rng = generator(f"ring {space.name}")
        self._addresses: list[int] = []

    def __getitem__(self, entry: int) -> int:
        while len(self._addresses) <= entry:
            self._addresses.append(self._rng.getrandbits(self._bits))
        return self._addresses[entry]


class Expected:
    """What packets must give: events in order, and the tokens of prompts."""

    def __init__(self, c: Configuration, rings: dict[Space, Ring], stopped: bool) -> None:
        self.c, self._rings = c, rings
        self._entry = dict.fromkeys(STREAMED, 0)
        self._stopped = stopped
        self.events: list[Event] = []
        self.prompt: list[tuple[int, bool]] = []

    def take(self, p: Packet, running: bool) -> None:
        """Adds what one packet must give."""
        length = len(p.payload)
        if p.kind == Kind.STOP:
            if not self._stopped:
                self.events.append(("stop",))
            self._stopped = True
        elif p.kind == Kind.RUN:
            if running:
                self._fault(Fault.RUN_BUSY)
            elif not 1 <= length <= self.c.context:
                self._fault(Fault.PROMPT_TOO_LONG)
            else:
                flags = bool(p.flags & RunFlag.RESET), bool(p.flags & RunFlag.LOGITS)
                self.events.append(("start", *flags, p.value))
                tokens = [word & 0x3FFFF for word in p.payload]
                self.prompt += [(token, i == length - 1) for i, token in enumerate(tokens)]
                self._stopped = False
        elif p.kind == Kind.WRITE:
            self._write(p)
        elif p.kind == Kind.STREAM:
            self._stream(p)
        elif p.kind == Kind.READ:
            if p.space not in READABLE:
                self._fault(Fault.UNKNOWN_SPACE)
            elif p.space != Space.REGISTER and running:
                self._fault(Fault.RUN_BUSY)
            else:
                self.events.append(("read", p.space, p.value, p.length))
        else:
            self._fault(Fault.UNKNOWN_KIND)

    def _fault(self, reason: Fault) -> None:
        self.events.append(("fault", int(reason)))

    def _row(self, row: int, place: int, word: int) -> None:
        """The `place`-th word of a row of all cores: cores one after the other, four lanes each."""
        core, word_of_core = divmod(place, self.c.lanes // 4)
        self.events.append(("row", row, core, 4 * word_of_core, word))

    def _write(self, p: Packet) -> None:
        if p.space not in WRITABLE:
            self._fault(Fault.UNKNOWN_SPACE)
            return
        each = self.c.cores * self.c.lanes // 4
        for address, word in enumerate(p.payload, p.value):
            if p.space != Space.ROW:
                if address < TABLE_WORDS:
                    self.events.append(("table", p.space, address, word))
            elif address // each < ROWS:
                self._row(address // each, address % each, word)

    def _stream(self, p: Packet) -> None:
        c = self.c
        if p.space not in STREAMED:
            self._fault(Fault.UNKNOWN_SPACE)
            return
        space = Space(p.space)
        each = c.cores * c.lanes // 4 if space is Space.ROW else c.vector_lanes // 2
        for i, word in enumerate(p.payload):
            at, place = self._rings[space][self._entry[space]], i % each
            if space is Space.ROW:
                self._row(at, place, word)
            else:
                self.events.append(("table", p.space, at * each + place, word))
            if place == each - 1:
                self.events.append(("done", p.space))
                self._entry[space] += 1
