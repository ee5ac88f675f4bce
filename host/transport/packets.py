"""Packets (isa/packets.py) over a transport: packed as link words, unpacked, and checked."""

from dataclasses import dataclass

import numpy as np

from host.transport import Transport
from isa.errors import SpikeletError
from isa.packets import HEADER, HEADER_WORDS, Fault, Kind, Space
from isa.registers import CONTRACT_VERSION, COUNTERS, IDENTITY, IDENTITY_MAGIC

_FAULTS = {
    Fault.UNKNOWN_KIND: "it does not know the packet's kind",
    Fault.UNKNOWN_SPACE: "it has no such memory",
    Fault.RUN_BUSY: "a run goes on",
    Fault.PROMPT_TOO_LONG: "the prompt is empty or longer than its context",
}
_ANSWERS = (Kind.DATA, Kind.TOKEN, Kind.LOGITS, Kind.DONE)
_LONGEST_ANSWER = 1 << 24
_EMPTY = np.zeros(0, dtype=np.uint32)


@dataclass(frozen=True)
class Packet:
    """A packet from the device. `payload` is uint32 (n,)."""

    kind: Kind
    flags: int
    value: int
    payload: np.ndarray


def packet(
    kind: Kind,
    *,
    space: Space = Space.ROW,
    flags: int = 0,
    value: int = 0,
    payload: np.ndarray = _EMPTY,
    length: int | None = None,
) -> np.ndarray:
    """The link words (uint32) of a packet.

    `length` is what the header says, by default the payload's: only READ has another one, the
    number of words to answer with.
    """
    payload = np.asarray(payload, dtype=np.uint32)
    header = HEADER.pack(kind=kind, space=space, flags=flags, value=value,
                         length=payload.size if length is None else length)
    head = [header >> 32 * i & 0xFFFFFFFF for i in range(HEADER_WORDS)]
    return np.concatenate([np.array(head, dtype=np.uint32), payload])


class PacketLink:
    """Sends packets to a device and receives its answers.

    Every method that waits for an answer raises SpikeletError where the device reports a fault or
    sends something else than a packet.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send(self, words: np.ndarray) -> None:
        """Sends link words, which have to be whole packets."""
        self._transport.send(words)

    def receive(self) -> Packet:
        """The next packet from the device."""
        raw = self._transport.receive(HEADER_WORDS).tolist()
        fields = HEADER.unpack(sum(word << 32 * i for i, word in enumerate(raw)))
        kind, length = fields["kind"], fields["length"]
        if kind == Kind.ERROR:
            fault = fields["value"]
            reason = _FAULTS.get(fault, f"fault {fault}")
            raise SpikeletError(f"the device refused a packet: {reason}")
        if kind not in _ANSWERS or length > _LONGEST_ANSWER:
            raise SpikeletError(f"the device sent no packet (kind 0x{kind:02x}, {length} words): "
                                "the link is out of step; restart the device")
        payload = self._transport.receive(length) if length else _EMPTY
        return Packet(Kind(kind), fields["flags"], fields["value"], payload)

    def expect(self, kind: Kind) -> Packet:
        """The next packet. One of another kind is an error, too."""
        answer = self.receive()
        if answer.kind is not kind:
            raise SpikeletError(f"the device sent {answer.kind.name} where {kind.name} was due: "
                                "the link is out of step; restart the device")
        return answer

    def write(self, space: Space, address: int, words: np.ndarray) -> None:
        """Writes words to a memory, from `address` on, which counts link words."""
        self.send(packet(Kind.WRITE, space=space, value=address, payload=words))

    def read(self, space: Space, address: int, count: int) -> np.ndarray:
        """Reads `count` words of a memory, from `address` on, which counts link words.

        The device works in order: when the words are there, everything sent before is done.
        """
        self.send(packet(Kind.READ, space=space, value=address, length=count))
        answer = self.expect(Kind.DATA)
        if answer.payload.size != count:
            raise SpikeletError(f"the device answered a read of {count} words with "
                                f"{answer.payload.size}: restart the device")
        return answer.payload


def device_identity(link: PacketLink) -> dict[str, int]:
    """The identity registers by name.

    Raises:
        SpikeletError: it is no Spikelet device, or one of another contract.
    """
    first = IDENTITY[0].address
    words = link.read(Space.REGISTER, first, len(IDENTITY)).tolist()
    found = {r.name: words[r.address - first] for r in IDENTITY}
    if found["magic"] != IDENTITY_MAGIC:
        raise SpikeletError(f"this is no Spikelet device: its magic register reads "
                            f"0x{found['magic']:08x}, not 0x{IDENTITY_MAGIC:08x}")
    if found["contract"] != CONTRACT_VERSION:
        raise SpikeletError(f"the device was built for contract {found['contract']}, this is "
                            f"{CONTRACT_VERSION}: build the device again")
    return found


def named_counters(words: np.ndarray) -> dict[str, int]:
    """The counters by name, from their registers' words as they were read."""
    return {r.name: int(words[r.address - COUNTERS[0].address]) for r in COUNTERS}


def read_counters(link: PacketLink) -> dict[str, int]:
    """The device's counters by name; they wrap at 2**32."""
    return named_counters(link.read(Space.REGISTER, COUNTERS[0].address, len(COUNTERS)))
