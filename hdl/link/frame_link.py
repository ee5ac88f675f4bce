"""The device's end of the frame protocol (isa/frames.py): bytes on one side, words on the other."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.copies import copy_of
from hdl.lib.half_rate import HalfRateRegister
from hdl.lib.pipeline import delayed
from hdl.lib.reset import with_own_reset
from hdl.link.frame_duties import MEANINGS, FrameDuties
from hdl.link.frame_meaning import FrameMeaning
from hdl.link.frame_receiver import FrameReceiver
from hdl.link.frame_transmitter import WORD_LATENCY, FrameTransmitter
from hdl.link.receive_buffer import ReceiveBuffer
from hdl.link.transmit_buffer import READ_LATENCY, TransmitBuffer
from hdl.link.uart import received_layout
from isa.frames import SEQUENCE_BITS, WELCOME_FIELDS, FrameType, Hello, Welcome

assert READ_LATENCY + 1 <= WORD_LATENCY  # the register that chooses between buffer and WELCOME

RESET_CYCLES = 16  # a power of two


class FrameLink(Component):
    """Words both ways, each once and in order, over bytes that may be lost, changed or invented.

    `words_to_device` may wait as long as it likes: the host is told to wait. `words_from_device`
    waits while the host does not acknowledge, and before the first session. A HELLO with a new
    session number empties both directions and holds `reset_device` for at least RESET_CYCLES;
    `open` is set from the first on. `heard` is set for a cycle with each good frame of the session.

    receive_words, transmit_words: sizes of the two buffers, powers of two, at least 64 and at most
    2**14; frames are at most half as long. block: in block RAM (one DP16KD each up to 512 words),
    else in look-up tables.
    """

    def __init__(self, clock_hz: int, hello: Hello, receive_words: int, transmit_words: int,
                 block: bool) -> None:  # fmt: skip
        for words in (receive_words, transmit_words):
            if not 64 <= words <= 1 << 14 or words & words - 1:
                raise ValueError(f"a buffer of {words} words: a power of two from 64 to 16384")
        self.clock_hz, self.hello, self.block = clock_hz, hello, block
        self.receive_words, self.transmit_words = receive_words, transmit_words
        self._welcome = Welcome(
            hello.frame_version, 0, hello.contract, hello.configuration, hello.image, clock_hz,
            receive_words,
        )
        super().__init__(
            {
                "bytes_in": In(stream.Signature(received_layout(), always_ready=True)),
                "bytes_out": Out(stream.Signature(unsigned(8))),
                "words_to_device": Out(stream.Signature(unsigned(32))),
                "words_from_device": In(stream.Signature(unsigned(32))),
                "reset_device": Out(1, init=1),
                "open": Out(1),
                "heard": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A choice of what to send is made in one cycle, at most every other one, and done in the
        # next. A new session begins between two frames.
        free, begin, opening = Signal(), Signal(), Signal()
        m.d.sync += begin.eq(free & opening)
        # What begins anew with a session has no other reset than a register that is set with
        # `begin`, and by our reset: one for each of the buffers, one for the flags.
        clear = {name: copy_of(m, free & opening, f"clear_{name}", init=1)
                 for name in ("arrived", "departing", "flags")}  # fmt: skip
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.meaning = meaning = FrameMeaning()
        m.submodules.transmitter = transmitter = FrameTransmitter()
        arrived = ReceiveBuffer(self.receive_words, self.block)
        departing = TransmitBuffer(self.clock_hz, self.transmit_words, self.block)
        duties = FrameDuties()
        m.submodules.arrived = with_own_reset(m, arrived, clear["arrived"], "arrived")
        m.submodules.departing = with_own_reset(m, departing, clear["departing"], "departing")
        m.submodules.duties = with_own_reset(m, duties, clear["flags"], "flags")
        m.d.comb += opening.eq(duties.opening)

        session = Signal(32, reset_less=True)  # counts while `open`
        welcome_due = Signal()
        chosen = self._choose(m, free, {
            "opening": opening, "welcome": welcome_due, "lost": duties.lost_due,
            "status": duties.status_due, "data": departing.due & self.open,
        })  # fmt: skip
        with m.If(chosen["welcome"]):
            m.d.sync += welcome_due.eq(0)
        request = self._send(m, transmitter, duties, departing, session, chosen)
        m.d.comb += request.payload.header.acknowledge.eq(arrived.expected)
        m.d.sync += free.eq(
            request.ready & ~begin & ~Cat(chosen.values()).any() & ~free
        )
        self._hear(m, receiver, meaning, duties, arrived, departing, session)
        with m.If(meaning.end & meaning.repeats):
            m.d.sync += welcome_due.eq(1)

        count, resetting = Signal(range(RESET_CYCLES)), Signal()
        with m.If(resetting):
            m.d.flags += count.eq(count + 1)
        with m.If(count == RESET_CYCLES - 1):
            m.d.sync += resetting.eq(0)
        with m.If(begin):
            m.d.sync += [
                self.open.eq(1), session.eq(meaning.offered), resetting.eq(1), welcome_due.eq(1),
            ]  # fmt: skip
        self._device(m, arrived, departing, opening | resetting)
        return m

    def _choose(self, m: Module, free, wanted: dict) -> dict[str, Signal]:
        """Which of what is wanted a frame is sent for in the next cycle: the first of them, while
        `free`; nothing while a session is opening.

        In the cycle after its choice a flag of what is sent is still up, but words may have to go
        back to others.
        """
        chosen = {name: Signal(name=f"chosen_{name}") for name in wanted if name != "opening"}
        before = wanted["opening"]
        for name, choice in chosen.items():
            m.d.sync += choice.eq(free & wanted[name] & ~before)
            before |= wanted[name]
        return chosen

    def _hear(self, m: Module, receiver: FrameReceiver, meaning: FrameMeaning,
              duties: FrameDuties, arrived: ReceiveBuffer, departing: TransmitBuffer,
              session) -> None:  # fmt: skip
        """Bytes become frames, frames what they mean, and that words and duties."""
        m.d.comb += [
            receiver.bytes.valid.eq(self.bytes_in.valid),
            receiver.bytes.payload.eq(self.bytes_in.payload),
            receiver.session.eq(session),
            *(getattr(meaning, name).eq(getattr(receiver, name))
              for name in ("header", "word", "word_valid", "index", "outside", "inside")),
            meaning.ended.eq(receiver.end),
            meaning.session.eq(session),
            meaning.open.eq(self.open),
            meaning.opening.eq(duties.opening),
            meaning.expected.eq(arrived.expected),
            meaning.gap_sequence.eq(duties.gap_sequence),
            *(getattr(duties, name).eq(getattr(meaning, name)) for name in (*MEANINGS, "sequence")),
            duties.fits.eq(arrived.fits),
            duties.ready.eq(arrived.ready),
            arrived.word.eq(receiver.word),
            arrived.word_valid.eq(receiver.word_valid),
            arrived.end.eq(meaning.end),
            arrived.keep.eq(meaning.kept),
            departing.heard.eq(self.heard),
        ]  # fmt: skip
        m.d.sync += self.heard.eq(meaning.end & meaning.heard)
        for target, value in (
            (departing.acknowledge, meaning.acknowledge), (departing.missing, meaning.nak)
        ):  # fmt: skip
            m.d.comb += target.eq(delayed(m, value))

    def _send(self, m: Module, transmitter: FrameTransmitter, duties: FrameDuties,
              departing: TransmitBuffer, session: Signal, chosen: dict):  # fmt: skip
        """What is chosen goes to the transmitter: words too, unless they went back meanwhile.

        The request, which still lacks what it acknowledges.
        """
        welcome = Array(
            session if name == "session" else Const(word, 32)
            for (name, _), word in zip(WELCOME_FIELDS, self._welcome.words, strict=True)
        )
        first, welcoming = Signal(SEQUENCE_BITS, reset_less=True), Signal(reset_less=True)
        word = Signal(32, reset_less=True)
        m.d.comb += [
            departing.address.eq(first + transmitter.index),
            departing.take.eq(chosen["data"] & departing.due),
            transmitter.word.eq(word),
            transmitter.session.eq(session),
            self.bytes_out.payload.eq(transmitter.bytes.payload),
            self.bytes_out.valid.eq(transmitter.bytes.valid),
            transmitter.bytes.ready.eq(self.bytes_out.ready),
            duties.lost_sent.eq(chosen["lost"]),
            duties.status_sent.eq(chosen["status"]),
        ]
        m.d.sync += word.eq(Mux(welcoming, welcome[transmitter.index[:3]], departing.data))
        request = transmitter.request
        header = request.payload.header
        m.d.comb += [
            request.valid.eq(
                chosen["welcome"] | chosen["lost"] | chosen["status"] | departing.take
            ),
            request.payload.inside.eq(chosen["status"] | chosen["data"]),
        ]
        with m.If(chosen["welcome"]):
            m.d.comb += [header.type.eq(FrameType.WELCOME), header.length.eq(len(WELCOME_FIELDS))]
            m.d.sync += welcoming.eq(1)
        with m.If(chosen["lost"]):
            m.d.comb += header.type.eq(FrameType.LOST)
        with m.If(chosen["status"]):
            m.d.comb += [header.type.eq(duties.kind), header.sequence.eq(duties.echo)]
        with m.If(chosen["data"]):
            m.d.comb += [
                header.type.eq(FrameType.DATA), header.length.eq(departing.length),
                header.sequence.eq(departing.sequence),
            ]  # fmt: skip
            m.d.sync += [welcoming.eq(0), first.eq(departing.sequence)]
        return request

    def _device(self, m: Module, arrived: ReceiveBuffer, departing: TransmitBuffer, reset) -> None:
        """Words to and from the device behind the link; none while it is reset.

        A register each way: the device's long decisions begin and end at it. Both are empty in
        every cycle of `reset_device`, and `opening` holds them so before the buffers are cleared.
        """
        m.submodules.to_device = to_device = HalfRateRegister(32)
        m.submodules.from_device = from_device = HalfRateRegister(32)
        m.d.sync += self.reset_device.eq(reset)
        m.d.comb += [
            to_device.clear.eq(reset | ~self.open),
            from_device.clear.eq(reset | ~self.open),
        ]
        connect(m, arrived.words, to_device.i)
        connect(m, to_device.o, flipped(self.words_to_device))
        connect(m, flipped(self.words_from_device), from_device.i)
        connect(m, from_device.o, departing.words)
