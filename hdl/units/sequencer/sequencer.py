"""Sequencer: runs the program for every token, and the units in step with one another."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.ports import pass_ports
from hdl.lib.shapes import POSITION_BITS, TOKEN_BITS, settings_layout, table_write
from hdl.units.sequencer.dispatch import Dispatch
from hdl.units.sequencer.positions import Positions
from hdl.units.sequencer.run_control import RunControl
from hdl.units.sequencer.unit_queue import UnitQueue
from hdl.units.sequencer.units import OPCODES, UNITS
from isa.configurations import Configuration
from isa.instructions import RECORDS
from isa.registers import Stop


class Sequencer(Component):
    """Takes a run (prompt tokens, how many to generate) and executes the program token by token.

    prompt: tokens in order; `start` (a pulse, when not `running`) begins with the first of them.
    Every token but the last of the prompt skips what follows HEAD. After the last, `next_token`
    from the post unit is sent out as `token` and runs next, until `generate` tokens came out, the
    end token came out, the context is full, or `stop` was set. `finished` gives the reason.
    `token_begun` pulses when a token begins; `token` and `runs_head` are then its.

    One instruction is dispatched a cycle. The program's end waits until all units are idle.
    """

    START_TO_OFFER = RunControl.START_TO_BEGIN + Dispatch.LATENCY + UnitQueue.LATENCY
    """Cycles from `start`, or from a transfer of `token_out`, to the first instruction's offer."""

    DONE_TO_TOKEN = UnitQueue.IDLE_LATENCY + RunControl.IDLE_TO_TOKEN
    """Cycles from the last instruction's done to the offer of `token_out`."""

    def __init__(self, c: Configuration, program: Sequence[int] = ()) -> None:
        self.c = c
        self._program = program
        ports = {}
        for unit in UNITS:
            ports[unit] = Out(stream.Signature(RECORDS[OPCODES[unit]].layout()))
            ports[f"{unit}_done"] = In(1)
            ports[f"{unit}_waiting"] = Out(1)
        super().__init__(
            {
                "tables": In(table_write()),
                "settings": In(settings_layout()),
                "prompt": In(stream.Signature(unsigned(TOKEN_BITS))),
                "prompt_last": In(1),
                "start": In(1),
                "reset_position": In(1),
                "generate": In(32),
                "stop": In(1),
                "running": Out(1),
                "busy": Out(1),
                "position": Out(POSITION_BITS),
                "rotation_base": Out(16),
                "key_row_offset": Out(20),
                "token": Out(TOKEN_BITS),
                "token_begun": Out(1),
                "runs_head": Out(1),
                "next_token": In(TOKEN_BITS),
                "token_out": Out(stream.Signature(unsigned(TOKEN_BITS))),
                "token_position": Out(POSITION_BITS),
                "token_done": Out(1),
                "finished": Out(stream.Signature(Stop)),
                **ports,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.run = run = RunControl()
        m.submodules.positions = positions = Positions(self.c)
        m.submodules.dispatch = dispatch = Dispatch(self.c, self._program)
        queues = self._queues(m, dispatch, run.begins)
        pass_ports(m, run, self, [
            "settings", "start", "generate", "stop", "prompt", "prompt_last", "next_token", "busy",
            "token", "token_begun", "runs_head", "token_done", "token_out", "token_position",
            "finished",
        ])  # fmt: skip
        pass_ports(m, positions, self, ["settings", "position", "rotation_base", "key_row_offset"])
        pass_ports(m, dispatch, self, ["tables"])
        m.d.comb += [
            self.running.eq(~run.idle),
            run.position.eq(positions.position),
            run.program_ended.eq(dispatch.ended),
            run.units_idle.eq(Cat(queue.idle for queue in queues.values()).all()),
            positions.clear.eq(run.idle & self.start & self.reset_position),
            positions.advance.eq(run.token_done),
            dispatch.restart.eq(run.begins),
            dispatch.nothing.eq(run.full),
            dispatch.runs_head.eq(run.runs_head),
        ]
        return m

    def _queues(self, m: Module, dispatch: Dispatch, clear) -> dict[str, UnitQueue]:
        """A queue for each unit, each of which sees what the others have completed."""
        queues = {}
        for unit in UNITS:
            queues[unit] = m.submodules[unit] = UnitQueue(unit)
        for unit, queue in queues.items():
            connect(m, getattr(dispatch, unit), queue.push)
            connect(m, queue.instruction, flipped(getattr(self, unit)))
            m.d.comb += [
                queue.done.eq(getattr(self, f"{unit}_done")),
                queue.clear.eq(clear),
                getattr(self, f"{unit}_waiting").eq(queue.waiting),
            ]
            for other in queue.others:
                m.d.comb += [
                    getattr(queue, f"completing_{other}").eq(queues[other].completing),
                    getattr(queue, f"done_{other}").eq(getattr(self, f"{other}_done")),
                ]
        return queues
