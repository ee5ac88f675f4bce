"""The device's end of the frame protocol (isa/frames.py): bytes on one side, words on the other."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.copies import copy_of
from hdl.lib.reset import own_reset, with_own_reset
from hdl.link.frame_meaning import FrameMeaning
from hdl.link.frame_receiver import FrameReceiver
from hdl.link.frame_transmitter import FrameTransmitter
from hdl.link.receive_buffer import ReceiveBuffer
from hdl.link.transmit_buffer import TransmitBuffer
from hdl.link.uart import received_layout
from hdl.link.word_register import WordRegister
from isa.frames import SEQUENCE_BITS, WELCOME_FIELDS, FrameType, Hello, Welcome

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
        # Chosen in one cycle, sent in the next: then a flag of what is sent is still up, but words
        # may have to go back to others. A choice is made every other cycle at most.
        opening, free = Signal(), Signal()  # a session is to begin; we may choose
        begin = Signal()  # one does, between two frames
        # What begins anew with a session has no other reset than a register that is set with
        # `begin`, and by our reset: one for each of the buffers, one for the flags here.
        clear = {name: copy_of(m, free & opening, f"clear_{name}", init=1)
                 for name in ("arrived", "departing", "flags")}  # fmt: skip
        own_reset(m, clear["flags"], "flags")
        m.d.sync += begin.eq(free & opening)

        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.meaning = meaning = FrameMeaning()
        m.submodules.transmitter = transmitter = FrameTransmitter()
        arrived = ReceiveBuffer(self.receive_words, self.block)
        departing = TransmitBuffer(self.clock_hz, self.transmit_words, self.block)
        m.submodules.arrived = with_own_reset(m, arrived, clear["arrived"], "arrived")
        m.submodules.departing = with_own_reset(m, departing, clear["departing"], "departing")
        session = Signal(32, reset_less=True)  # counts while `open`
        gap, gap_sequence = Signal(), Signal(SEQUENCE_BITS, reset_less=True)  # words are missing
        m.d.comb += [
            receiver.bytes.valid.eq(self.bytes_in.valid),
            receiver.bytes.payload.eq(self.bytes_in.payload),
            receiver.session.eq(session),
            *(getattr(meaning, name).eq(getattr(receiver, name))
              for name in ("header", "word", "word_valid", "index", "outside", "inside")),
            meaning.ended.eq(receiver.end),
            meaning.session.eq(session),
            meaning.open.eq(self.open),
            meaning.opening.eq(opening),
            meaning.expected.eq(arrived.expected),
            meaning.gap_sequence.eq(gap_sequence),
            arrived.word.eq(receiver.word),
            arrived.word_valid.eq(receiver.word_valid),
            arrived.end.eq(meaning.end),
            arrived.keep.eq(meaning.kept),
            departing.heard.eq(self.heard),
            transmitter.session.eq(session),
            self.bytes_out.payload.eq(transmitter.bytes.payload),
            self.bytes_out.valid.eq(transmitter.bytes.valid),
            transmitter.bytes.ready.eq(self.bytes_out.ready),
        ]  # fmt: skip
        for target, value in (
            (departing.acknowledge, meaning.acknowledge), (departing.missing, meaning.nak)
        ):  # fmt: skip
            kept = Signal.like(target, name=f"heard_{target.name}", reset_less=True)
            m.d.sync += kept.eq(value)
            m.d.comb += target.eq(kept)
        m.d.sync += self.heard.eq(meaning.end & meaning.heard)

        # What goes out next. A flag that is raised in this cycle stays up: it is set further down.
        welcome_due, lost_due, status_due = Signal(), Signal(), Signal()
        stalled, missing = Signal(), Signal()
        polled, echo = Signal(), Signal(SEQUENCE_BITS, reset_less=True)
        chosen = {name: Signal(name=f"chosen_{name}")
                  for name in ("welcome", "lost", "status", "data")}  # fmt: skip
        wanted = {
            "welcome": welcome_due, "lost": lost_due, "status": status_due,
            "data": departing.due & self.open,
        }  # fmt: skip
        before = opening
        for name, want in wanted.items():
            m.d.sync += chosen[name].eq(free & want & ~before)
            before |= want
        request = self._send(m, transmitter, departing, session, chosen)
        m.d.comb += request.payload.header.acknowledge.eq(arrived.expected)
        busy = begin | chosen["welcome"] | chosen["lost"] | chosen["status"] | chosen["data"]
        m.d.sync += free.eq(request.ready & ~busy & ~free)
        with m.If(chosen["welcome"]):
            m.d.sync += welcome_due.eq(0)
        with m.If(chosen["lost"]):
            m.d.flags += lost_due.eq(0)
        with m.If(chosen["status"]):
            kind = Mux(stalled, FrameType.BUSY, Mux(missing, FrameType.NAK, FrameType.ACK))
            m.d.comb += [
                request.payload.header.type.eq(kind),
                request.payload.header.sequence.eq(Mux(polled, echo, 0)),
            ]
            m.d.flags += [status_due.eq(0), missing.eq(0), polled.eq(0)]

        # What is to be done about a frame.
        with m.If(stalled & arrived.ready):
            m.d.flags += [stalled.eq(0), missing.eq(1), status_due.eq(1)]
        with m.If(meaning.end):
            with m.If(meaning.repeats):
                m.d.sync += welcome_due.eq(1)
            with m.If(meaning.begins):
                m.d.flags += opening.eq(1)
            with m.If(meaning.lost):
                m.d.flags += lost_due.eq(1)
            with m.If(meaning.answer):
                m.d.flags += status_due.eq(1)
            with m.If(meaning.poll):
                m.d.flags += polled.eq(1)
                m.d.sync += echo.eq(meaning.sequence)
            with m.If(meaning.kept):
                m.d.flags += gap.eq(~arrived.fits)
                with m.If(~arrived.fits):
                    m.d.flags += stalled.eq(1)
            with m.If(meaning.late):
                m.d.flags += gap.eq(1)
            with m.If(meaning.kept | meaning.late):
                m.d.sync += gap_sequence.eq(meaning.sequence)
            # One NAK for a gap, another when the host has gone back and it is still there.
            with m.If(meaning.damaged | (meaning.late & ~(gap & meaning.further))):
                m.d.flags += missing.eq(1)

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

    def _send(self, m: Module, transmitter: FrameTransmitter, departing: TransmitBuffer,
              session: Signal, chosen: dict):  # fmt: skip
        """What is chosen goes to the transmitter: words too, unless they went back meanwhile.

        The request that is returned lacks the type and the sequence of a status.
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
        m.submodules.to_device = to_device = WordRegister()
        m.submodules.from_device = from_device = WordRegister()
        m.d.sync += self.reset_device.eq(reset)
        m.d.comb += [
            to_device.clear.eq(reset | ~self.open),
            from_device.clear.eq(reset | ~self.open),
        ]
        connect(m, arrived.words, to_device.i)
        connect(m, to_device.o, flipped(self.words_to_device))
        connect(m, flipped(self.words_from_device), from_device.i)
        connect(m, from_device.o, departing.words)
