"""Sequencer: runs the program for every token, and the units in step with one another."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.queues import QUEUE_WORDS
from hdl.lib.shapes import POSITION_BITS, TOKEN_BITS, settings_layout, table_write
from isa.configurations import Configuration
from isa.instructions import INSTRUCTION_BITS, INSTRUCTION_LINK_WORDS, RECORDS, Opcode
from isa.packets import Space
from isa.registers import Stop

UNITS = ("fire", "post", "vector")
OPCODES = {"fire": Opcode.FIRE, "post": Opcode.POST, "vector": Opcode.VECTOR}
QUEUE_DEPTH = QUEUE_WORDS
COMPLETED_BITS = 12
_STATES = StructLayout(
    {s: 1 for s in ("idle", "settle", "token", "run", "drain", "emit", "finish")}
)


class UnitQueue(Component):
    """Instructions of one unit in order; the head is offered when what it waits for is complete.

    Latency three cycles from push to offer. `waiting` is 1 while the head may not start. `pushing`
    and `completing` number, from 1 in each token, the next instruction to be pushed and the unit's
    next done pulse; `idle` says a cycle late that the two are equal. Instructions are taken while
    the queue has room, which is known a cycle late: one more entry stays free for what comes
    meanwhile.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.record = RECORDS[OPCODES[unit]]
        self.others = [u for u in UNITS if u != unit]
        super().__init__(
            {
                "push": In(stream.Signature(unsigned(self.record.bits))),
                "instruction": Out(stream.Signature(self.record.layout())),
                "done": In(1),
                "clear": In(1),
                "completing": Out(COMPLETED_BITS, init=1),
                "idle": Out(1),
                "waiting": Out(1),
                **{f"completing_{u}": In(COMPLETED_BITS) for u in self.others},
                **{f"done_{u}": In(1) for u in self.others},  # completing_{u} is about to rise
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Pointers a bit longer than an address, and no count: what leaves is decided late.
        m.submodules.queue = queue = Memory(
            shape=unsigned(self.record.bits), depth=QUEUE_DEPTH, init=[]
        )
        write, read = queue.write_port(), queue.read_port(domain="comb")
        written, gone = Signal(range(2 * QUEUE_DEPTH)), Signal(range(2 * QUEUE_DEPTH))
        filled = Signal()
        # The following one waits in a register, too: it is looked at before it is the head.
        head, following = Signal(self.record.layout()), Signal(self.record.layout())
        head_valid, following_valid = Signal(), Signal()
        room = Signal()
        pushed = Signal()
        m.d.sync += [
            room.eq((written - gone)[: len(gone)] <= QUEUE_DEPTH - 2),
            written.eq(written + pushed),
        ]
        m.d.comb += [
            pushed.eq(self.push.valid & room),
            filled.eq(written != gone),
            write.addr.eq(written),
            write.data.eq(self.push.payload),
            write.en.eq(pushed),
            read.addr.eq(gone),
            self.push.ready.eq(room),
        ]
        # Whether the next cycle's head may start is decided before it is known which one that is.
        met = Signal()
        taken = self.instruction.ready & met
        moves = Signal()
        m.d.comb += [
            moves.eq(~head_valid | taken),
            self.instruction.payload.eq(head),
            self.instruction.valid.eq(met),
            self.waiting.eq(head_valid & ~met),
        ]
        with m.If(moves | ~following_valid):
            m.d.sync += [following.eq(read.data), following_valid.eq(filled)]
            m.d.sync += gone.eq(gone + filled)
        with m.If(moves):
            m.d.sync += [head.eq(following), head_valid.eq(following_valid)]
            m.d.sync += met.eq(following_valid & self._met(following))
        with m.Else():
            m.d.sync += met.eq(self._met(head))

        pushing = Signal(COMPLETED_BITS, init=1)
        with m.If(self.clear):
            m.d.sync += [pushing.eq(1), self.completing.eq(1)]
        with m.Else():
            m.d.sync += [
                pushing.eq(pushing + pushed),
                self.completing.eq(self.completing + self.done),
            ]
        m.d.sync += self.idle.eq((pushing == self.completing) & ~pushed)
        return m

    def _met(self, waiting):
        """Whether an instruction may start in the next cycle."""
        conditions = []
        for unit in self.others:
            done, wait = getattr(self, f"done_{unit}"), getattr(waiting, f"wait_{unit}")
            # completing + done - 1 - wait, for both as done comes late in its cycle.
            completing = getattr(self, f"completing_{unit}")
            without = (completing + ~wait)[COMPLETED_BITS - 1]
            conditions.append(~Mux(done, (completing - wait)[COMPLETED_BITS - 1], without))
        return Cat(*conditions).all()


class ProgramMemory(Component):
    """The program: one instruction a word, written by the link loader 32 bits at a time.

    `instruction` belongs to the `address` of the last cycle with `enable`. A write beyond the end
    is dropped. `init`: entries (isa.contents) at power-on.
    """

    def __init__(self, c: Configuration, init: Sequence[int] = ()) -> None:
        self.depth = c.program_depth
        self.init = [entry & ((1 << INSTRUCTION_BITS) - 1) for entry in init]
        super().__init__(
            {
                "tables": In(table_write()),
                "address": In(range(c.program_depth)),
                "enable": In(1),
                "instruction": Out(INSTRUCTION_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=unsigned(INSTRUCTION_BITS), depth=self.depth, init=self.init
        )
        write = memory.write_port(granularity=32)
        read = memory.read_port()
        words = INSTRUCTION_BITS // 32
        select_bits = INSTRUCTION_LINK_WORDS.bit_length() - 1
        select = self.tables.address[:select_bits]
        entry = self.tables.address[select_bits:]
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.enable),
            self.instruction.eq(read.data),
            write.addr.eq(entry),
            write.data.eq(Cat(self.tables.data for _ in range(words))),
        ]
        mine = self.tables.space == Space.PROGRAM
        with m.If(self.tables.enable & mine & (entry < self.depth)):
            m.d.comb += write.en.eq((1 << select)[:words])
        return m


class Sequencer(Component):
    """Takes a run (prompt tokens, how many to generate) and executes the program token by token.

    prompt: tokens in order; `start` (a pulse, when not `running`) begins with the first of them.
    Every token but the last of the prompt skips what follows HEAD. After the last, `next_token`
    from the post unit is sent out as `token` and runs next, until `generate` tokens came out, the
    end token came out, the context is full, or `stop` was set. `finished` gives the reason.
    `token_begun` pulses when a token begins; `token` and `runs_head` are then its.

    One instruction is dispatched a cycle, the first in the second cycle of a token: between program
    memory, which is slow, and the decision where it goes there is a register. The program's end
    waits until all units are idle.
    """

    def __init__(self, c: Configuration, program: Sequence[int] = ()) -> None:
        self.c = c
        self.program_init = program
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

    def elaborate(self, platform):
        m = Module()
        c, settings = self.c, self.settings
        queues = {}
        for unit in UNITS:
            queues[unit] = m.submodules[unit] = UnitQueue(unit)
        idle, clear = Signal(), Signal()
        m.d.comb += idle.eq(Cat(q.idle for q in queues.values()).all())
        for unit, queue in queues.items():
            out = getattr(self, unit)
            m.d.comb += [
                out.payload.eq(queue.instruction.payload),
                out.valid.eq(queue.instruction.valid),
                queue.instruction.ready.eq(out.ready),
                queue.done.eq(getattr(self, f"{unit}_done")),
                queue.clear.eq(clear),
                getattr(self, f"{unit}_waiting").eq(queue.waiting),
            ]
            for other in queue.others:
                m.d.comb += getattr(queue, f"completing_{other}").eq(queues[other].completing)
                m.d.comb += getattr(queue, f"done_{other}").eq(getattr(self, f"{other}_done"))

        m.submodules.program = program = ProgramMemory(c, self.program_init)
        # Two stages that move together: what memory gives, and what is dispatched.
        address = Signal(range(c.program_depth))
        fetched, fetched_last = Signal(), Signal()
        held_last, instruction = Signal(), Signal(INSTRUCTION_BITS)
        restart, advance = Signal(), Signal()
        # What `instruction` is, decoded on its way into that register; or none is held.
        goes_to = {unit: Signal(name=f"goes_to_{unit}") for unit in UNITS}
        passes, skips = Signal(), Signal()  # a HEAD that the token goes on behind; that ends it
        is_other, none_held = Signal(), Signal(init=1)
        last_of_prompt = Signal()
        following = program.instruction[:4]
        m.d.comb += [
            program.tables.enable.eq(self.tables.enable),
            program.tables.space.eq(self.tables.space),
            program.tables.address.eq(self.tables.address),
            program.tables.data.eq(self.tables.data),
            program.address.eq(Mux(restart, 0, address)),
            program.enable.eq(restart | advance),
        ]
        full = Signal()  # in the second cycle of a new position
        m.d.sync += full.eq(self.position >= settings.context)
        m.d.sync += self.token_begun.eq(0)
        with m.If(restart):
            m.d.sync += [address.eq(1), fetched.eq(~full), fetched_last.eq(0)]
        with m.Elif(advance):
            m.d.sync += [
                address.eq(address + 1),
                fetched.eq(fetched & ~fetched_last),
                fetched_last.eq(address == c.program_depth - 1),
            ]
        with m.If(restart | (advance & ~fetched)):
            m.d.sync += [flag.eq(0) for flag in (*goes_to.values(), passes, skips, is_other)]
            m.d.sync += none_held.eq(1)
        with m.Elif(advance):
            opcodes = [Opcode.HEAD, *(OPCODES[unit] for unit in UNITS)]
            m.d.sync += [
                *(goes_to[unit].eq(following == OPCODES[unit]) for unit in UNITS),
                passes.eq((following == Opcode.HEAD) & last_of_prompt),
                skips.eq((following == Opcode.HEAD) & ~last_of_prompt),
                is_other.eq(~following.matches(*opcodes)),
                none_held.eq(0),
            ]
        with m.If(advance):
            m.d.sync += [
                instruction.eq(program.instruction),
                held_last.eq(fetched & fetched_last),
            ]
        sent = []
        for unit, queue in queues.items():
            m.d.comb += [
                queue.push.payload.eq(instruction[: queue.record.bits]),
                queue.push.valid.eq(goes_to[unit]),
            ]
            sent.append(goes_to[unit] & queue.push.ready)
        m.d.comb += advance.eq(Cat(*sent, passes, none_held).any())

        # One-hot: what a state decides loads many registers.
        state = Signal(_STATES, init=_STATES.const({"idle": 1}))
        token_ends = Signal()
        made = Signal(32)  # tokens, with the next one
        # Of the token that comes next, and of the one that is emitted.
        will_end, will_do, is_end, enough = Signal(), Signal(), Signal(), Signal()
        reason = Signal(Stop)
        m.d.comb += token_ends.eq(state.drain & idle)

        def go(here: str, there: str) -> list:
            """Two bits only: what one state decides is not on the way of the others."""
            return [state[here].eq(0), state[there].eq(1)]

        # The running addresses that depend on the position; no product is formed.
        in_block = Signal(range(c.lanes))  # position mod P
        last_in_block = Signal()
        m.d.sync += last_in_block.eq(in_block == c.lanes - 1)  # it stands while a token runs
        with m.If(state.idle & self.start & self.reset_position):
            m.d.sync += [
                self.position.eq(0),
                self.rotation_base.eq(0),
                self.key_row_offset.eq(0),
                in_block.eq(0),
            ]
        with m.Elif(token_ends):
            m.d.sync += [
                self.position.eq(self.position + 1),
                self.rotation_base.eq(self.rotation_base + settings.rotation_stride),
                in_block.eq(in_block + 1),
            ]
            with m.If(last_in_block):
                m.d.sync += self.key_row_offset.eq(self.key_row_offset + settings.key_stride)

        m.d.comb += [
            self.runs_head.eq(last_of_prompt),
            self.token_done.eq(token_ends),
            self.token_out.payload.eq(self.token),
            self.token_out.valid.eq(state.emit),
            self.finished.payload.eq(reason),
            self.finished.valid.eq(state.finish & last_of_prompt),
            self.running.eq(~state.idle),
            self.busy.eq(state.run | state.drain),
            restart.eq(state.token),
            clear.eq(state.token),
            # A token is wanted, or what is left of the prompt is dropped.
            self.prompt.ready.eq(~last_of_prompt & ((state.token & ~full) | state.finish)),
        ]
        with m.If(state.idle):
            m.d.sync += made.eq(1)
            with m.If(self.start):
                m.d.sync += [last_of_prompt.eq(0), *go("idle", "settle")]
        with m.If(state.settle):
            m.d.sync += go("settle", "token")
        with m.If(state.token):  # from the prompt, or the last one made
            with m.If(full):
                m.d.sync += [reason.eq(Stop.CONTEXT_FULL), *go("token", "finish")]
            with m.Elif(last_of_prompt):
                m.d.sync += [self.token_begun.eq(1), *go("token", "run")]
            with m.Elif(self.prompt.valid):
                m.d.sync += [
                    self.token_begun.eq(1),
                    self.token.eq(self.prompt.payload),
                    last_of_prompt.eq(self.prompt_last),
                    *go("token", "run"),
                ]
        ends = skips | is_other
        with m.If(state.run & (ends | (advance & held_last))):  # a full memory needs no END
            m.d.sync += go("run", "drain")
        with m.If(state.drain):
            m.d.sync += skips.eq(0)  # what HEAD skips for this token stays where it is
        m.d.sync += [
            will_end.eq(settings.end_token_enable & (self.next_token == settings.end_token)),
            will_do.eq(made >= self.generate),
        ]
        with m.If(token_ends):
            m.d.sync += [
                self.token_position.eq(self.position), is_end.eq(will_end), enough.eq(will_do),
            ]  # fmt: skip
            with m.If(last_of_prompt):
                m.d.sync += [self.token.eq(self.next_token), *go("drain", "emit")]
                m.d.sync += made.eq(made + 1)
            with m.Elif(self.stop):
                m.d.sync += [reason.eq(Stop.STOPPED), *go("drain", "finish")]
            with m.Else():
                m.d.sync += go("drain", "settle")
        with m.If(state.emit & self.token_out.ready):
            with m.If(is_end | enough | self.stop):
                counted = Mux(enough, Stop.COUNT, Stop.STOPPED)
                m.d.sync += reason.eq(Mux(is_end, Stop.END_TOKEN, counted))
                m.d.sync += go("emit", "finish")
            with m.Else():
                m.d.sync += go("emit", "settle")
        with m.If(state.finish):
            with m.If(last_of_prompt):
                with m.If(self.finished.ready):
                    m.d.sync += go("finish", "idle")
            with m.Elif(self.prompt.valid):
                m.d.sync += last_of_prompt.eq(self.prompt_last)
        return m
