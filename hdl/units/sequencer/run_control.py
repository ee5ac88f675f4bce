"""A run from its first token to its last: which token comes next, and when it is over."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import POSITION_BITS, TOKEN_BITS, settings_layout
from hdl.lib.states import OneHot
from isa.registers import Stop


class RunControl(Component):
    """The states of a run, as Sequencer describes it, around a program that others execute.

    begins         a token is about to begin: the program restarts. It lasts while the prompt gives
                   none
    full           with it: the position is beyond the context, and there will be no token
    program_ended  the program was dispatched
    units_idle     and the units have completed all of it: the token ends, as `token_done` says
    """

    START_TO_BEGIN = 2  # cycles from `start` or a transfer of `token_out` to `begins`
    IDLE_TO_TOKEN = 1  # from a token's end to `token_out`

    def __init__(self) -> None:
        super().__init__(
            {
                "settings": In(settings_layout()),
                "start": In(1),
                "generate": In(32),
                "stop": In(1),
                "prompt": In(stream.Signature(unsigned(TOKEN_BITS))),
                "prompt_last": In(1),
                "position": In(POSITION_BITS),
                "program_ended": In(1),
                "units_idle": In(1),
                "next_token": In(TOKEN_BITS),
                "idle": Out(1),
                "busy": Out(1),
                "begins": Out(1),
                "full": Out(1),
                "token": Out(TOKEN_BITS),
                "token_begun": Out(1),
                "runs_head": Out(1),
                "token_done": Out(1),
                "token_out": Out(stream.Signature(unsigned(TOKEN_BITS))),
                "token_position": Out(POSITION_BITS),
                "finished": Out(stream.Signature(Stop)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        states = OneHot("idle", "settle", "token", "run", "drain", "emit", "finish")
        last_of_prompt = self.runs_head  # the token is it, or comes behind it
        reason = Signal(Stop)
        m.d.comb += [
            self.idle.eq(states.idle),
            self.busy.eq(states.run | states.drain),
            self.begins.eq(states.token),
            self.token_done.eq(states.drain & self.units_idle),
            self.token_out.payload.eq(self.token),
            self.token_out.valid.eq(states.emit),
            self.finished.payload.eq(reason),
            self.finished.valid.eq(states.finish & last_of_prompt),
            # A token is wanted, or what is left of the prompt is dropped.
            self.prompt.ready.eq(
                ~last_of_prompt & ((states.token & ~self.full) | states.finish)
            ),
        ]
        # In `settle` the position is new, and compared.
        m.d.sync += [self.full.eq(self.position >= self.settings.context), self.token_begun.eq(0)]

        with m.If(states.idle & self.start):
            m.d.sync += [last_of_prompt.eq(0), *states.go("idle", "settle")]
        with m.If(states.settle):
            m.d.sync += states.go("settle", "token")
        with m.If(states.token):  # from the prompt, or the last one made
            with m.If(self.full):
                m.d.sync += [reason.eq(Stop.CONTEXT_FULL), *states.go("token", "finish")]
            with m.Elif(last_of_prompt):
                m.d.sync += [self.token_begun.eq(1), *states.go("token", "run")]
            with m.Elif(self.prompt.valid):
                m.d.sync += [
                    self.token_begun.eq(1),
                    self.token.eq(self.prompt.payload),
                    last_of_prompt.eq(self.prompt_last),
                    *states.go("token", "run"),
                ]
        with m.If(states.run & self.program_ended):
            m.d.sync += states.go("run", "drain")
        self._end_token(m, states, reason)
        with m.If(states.finish):
            with m.If(last_of_prompt):
                with m.If(self.finished.ready):
                    m.d.sync += states.go("finish", "idle")
            with m.Elif(self.prompt.valid):
                m.d.sync += last_of_prompt.eq(self.prompt_last)
        return m

    def _end_token(self, m: Module, states: OneHot, reason: Signal) -> None:
        """From the end of a token to the next one, or to the run's end."""
        settings = self.settings
        made = Signal(32)  # tokens of this run, with the one that is about to be made
        # Of that one; and the same, of the one that is offered. All come out of registers.
        will_be_end_token, will_be_enough = Signal(), Signal()
        is_end_token, is_enough = Signal(), Signal()
        m.d.sync += [
            will_be_end_token.eq(
                settings.end_token_enable & (self.next_token == settings.end_token)
            ),
            will_be_enough.eq(made >= self.generate),
        ]
        with m.If(states.idle):
            m.d.sync += made.eq(1)
        with m.If(self.token_done):
            m.d.sync += [
                self.token_position.eq(self.position),
                is_end_token.eq(will_be_end_token),
                is_enough.eq(will_be_enough),
            ]
            with m.If(self.runs_head):
                m.d.sync += [
                    self.token.eq(self.next_token),
                    made.eq(made + 1),
                    *states.go("drain", "emit"),
                ]
            with m.Elif(self.stop):
                m.d.sync += [reason.eq(Stop.STOPPED), *states.go("drain", "finish")]
            with m.Else():
                m.d.sync += states.go("drain", "settle")
        with m.If(states.emit & self.token_out.ready):
            with m.If(is_end_token | is_enough | self.stop):
                counted = Mux(is_enough, Stop.COUNT, Stop.STOPPED)
                m.d.sync += [
                    reason.eq(Mux(is_end_token, Stop.END_TOKEN, counted)),
                    *states.go("emit", "finish"),
                ]
            with m.Else():
                m.d.sync += states.go("emit", "settle")
