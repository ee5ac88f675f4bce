"""The device's end of the frame protocol (isa/frames.py): bytes on one side, words on the other."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.link.frame_receiver import FrameReceiver
from hdl.link.frame_transmitter import FrameTransmitter
from hdl.link.receive_buffer import ReceiveBuffer
from hdl.link.transmit_buffer import TransmitBuffer
from hdl.link.uart import received_layout
from hdl.link.word_register import WordRegister
from isa.frames import (
    FIRST_OF_SESSION,
    HELLO_WORDS,
    SEQUENCE_BITS,
    WELCOME_FIELDS,
    FrameType,
    Hello,
    Welcome,
)

RESET_CYCLES = 16
SESSION_WORD = 1  # of HELLO


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
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.transmitter = transmitter = FrameTransmitter()
        m.submodules.arrived = arrived = ReceiveBuffer(self.receive_words, self.block)
        m.submodules.departing = departing = TransmitBuffer(
            self.clock_hz, self.transmit_words, self.block
        )
        session, offered = Signal(32), Signal(32)
        opening, begin = Signal(), Signal()  # a session is to begin; does, between two frames
        resetting = Signal(range(RESET_CYCLES + 1))
        welcome_due, lost_due, status_due = Signal(), Signal(), Signal()
        stalled, missing, echo = Signal(), Signal(), Signal(SEQUENCE_BITS)
        gap, gap_sequence = Signal(), Signal(SEQUENCE_BITS)  # words are missing; before which frame
        header = receiver.header
        # Of the frame that ended a cycle ago.
        end, greeted, repeated, inside = Signal(), Signal(), Signal(), Signal()
        data, poll, nak, keeps = Signal(), Signal(), Signal(), Signal()
        sequence, acknowledge = Signal(SEQUENCE_BITS), Signal(SEQUENCE_BITS)
        due, ahead, further = Signal(), Signal(), Signal()  # its words, and where it is from them
        m.d.comb += [
            receiver.bytes.valid.eq(self.bytes_in.valid),
            receiver.bytes.payload.eq(self.bytes_in.payload),
            receiver.session.eq(session),
            arrived.word.eq(receiver.word),
            arrived.word_valid.eq(receiver.word_valid),
            arrived.end.eq(end),
            arrived.clear.eq(begin),
            arrived.keep.eq(keeps),
            departing.clear.eq(begin),
            transmitter.session.eq(session),
            self.bytes_out.payload.eq(transmitter.bytes.payload),
            self.bytes_out.valid.eq(transmitter.bytes.valid),
            transmitter.bytes.ready.eq(self.bytes_out.ready),
        ]

        # What goes out next. A flag that is raised in this cycle stays up: it is set further down.
        request = transmitter.request
        first, welcoming = Signal(SEQUENCE_BITS), Signal()
        welcome = Array(
            session if name == "session" else Const(word, 32)
            for (name, _), word in zip(WELCOME_FIELDS, self._welcome.words, strict=True)
        )
        m.d.comb += [
            departing.address.eq(first + transmitter.index),
            request.payload.header.acknowledge.eq(arrived.expected),
        ]

        m.d.sync += [
            departing.heard.eq(self.heard),
            departing.acknowledge.eq(acknowledge),
            departing.missing.eq(nak),
        ]
        m.d.sync += transmitter.word.eq(
            Mux(welcoming, welcome[transmitter.index[:3]], departing.data)
        )

        def send(kind, length=0) -> None:
            m.d.comb += [
                request.valid.eq(1),
                request.payload.header.type.eq(kind),
                request.payload.header.length.eq(length),
            ]
            m.d.sync += welcoming.eq(0)

        # Chosen in one cycle, sent in the next: then a flag of what is sent is still up, but words
        # may have to go back to others.
        free = Signal()  # out of a register: nobody but us keeps the transmitter busy
        chosen = {name: Signal(name=f"chosen_{name}")
                  for name in ("session", "welcome", "lost", "status", "data")}  # fmt: skip
        wanted = {
            "session": opening, "welcome": welcome_due, "lost": lost_due, "status": status_due,
            "data": departing.due & self.open,
        }  # fmt: skip
        before = Const(0)
        for name, want in wanted.items():
            m.d.sync += chosen[name].eq(free & want & ~before)
            before |= want
        m.d.sync += free.eq(request.ready & ~request.valid & ~(free & before))
        m.d.comb += begin.eq(chosen["session"])
        with m.If(chosen["welcome"]):
            send(FrameType.WELCOME, len(WELCOME_FIELDS))
            m.d.sync += [welcome_due.eq(0), welcoming.eq(1)]
        with m.If(chosen["lost"]):
            send(FrameType.LOST)
            m.d.sync += lost_due.eq(0)
        with m.If(chosen["status"]):
            send(Mux(stalled, FrameType.BUSY, Mux(missing, FrameType.NAK, FrameType.ACK)))
            m.d.comb += [
                request.payload.inside.eq(1), request.payload.header.sequence.eq(echo),
            ]  # fmt: skip
            m.d.sync += [status_due.eq(0), missing.eq(0), echo.eq(0)]
        with m.If(chosen["data"] & departing.due):
            send(FrameType.DATA, departing.length)
            m.d.comb += [
                request.payload.inside.eq(1),
                request.payload.header.sequence.eq(departing.sequence),
                departing.take.eq(1),
            ]
            m.d.sync += first.eq(departing.sequence)

        # What a frame means at its end.
        from_expected = (header.sequence - arrived.expected)[:SEQUENCE_BITS]
        from_gap = (header.sequence - gap_sequence)[:SEQUENCE_BITS]
        m.d.sync += [
            end.eq(receiver.end & ~opening),
            greeted.eq(
                receiver.outside & (header.type == FrameType.HELLO)
                & (header.length >= HELLO_WORDS) & (offered != 0)
            ),
            repeated.eq(self.open & (offered == session)),
            inside.eq(receiver.inside & self.open & (header.type >= FIRST_OF_SESSION)),
            data.eq(header.type == FrameType.DATA),
            keeps.eq(
                receiver.inside & self.open & (header.type == FrameType.DATA)
                & (header.sequence == arrived.expected)
            ),
            poll.eq(header.type == FrameType.POLL),
            nak.eq(header.type == FrameType.NAK),
            sequence.eq(header.sequence),
            acknowledge.eq(header.acknowledge),
            due.eq(header.sequence == arrived.expected),
            ahead.eq(~from_expected[-1]),
            further.eq((header.sequence != gap_sequence) & ~from_gap[-1]),
        ]  # fmt: skip
        m.d.comb += self.heard.eq(end & inside)
        with m.If(receiver.word_valid & (receiver.index == SESSION_WORD) & ~opening):
            m.d.sync += offered.eq(receiver.word)
        with m.If(stalled & arrived.ready):
            m.d.sync += [stalled.eq(0), missing.eq(1), status_due.eq(1)]
        with m.If(end):
            with m.If(greeted):
                with m.If(repeated):
                    m.d.sync += welcome_due.eq(1)
                with m.Else():
                    m.d.sync += opening.eq(1)
            with m.Elif(~self.open):
                m.d.sync += lost_due.eq(1)
            with m.Elif(~inside):
                m.d.sync += [missing.eq(1), status_due.eq(1)]
            with m.Elif(poll):
                m.d.sync += [status_due.eq(1), echo.eq(sequence)]
            with m.Elif(data):
                m.d.sync += status_due.eq(1)
                with m.If(due):
                    m.d.sync += [gap.eq(~arrived.fits), gap_sequence.eq(sequence)]
                    with m.If(~arrived.fits):
                        m.d.sync += stalled.eq(1)
                with m.Elif(ahead):
                    # One NAK for a gap, another when the host has gone back and it is still there.
                    m.d.sync += [gap.eq(1), gap_sequence.eq(sequence)]
                    with m.If(~gap | ~further):
                        m.d.sync += missing.eq(1)

        m.d.sync += resetting.eq(Mux(resetting == 0, 0, resetting - 1))
        with m.If(begin):
            m.d.sync += [
                opening.eq(0), self.open.eq(1), session.eq(offered), resetting.eq(RESET_CYCLES),
                welcome_due.eq(1), lost_due.eq(0), status_due.eq(0), stalled.eq(0), missing.eq(0),
                echo.eq(0), gap.eq(0),
            ]  # fmt: skip
        self._device(m, arrived, departing, opening | (resetting != 0))
        return m

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
