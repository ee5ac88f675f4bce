"""Sequencer: runs the program for every token, and the units in step with one another."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import fifo, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import POSITION_BITS, TOKEN_BITS, settings_layout, table_write
from isa.configurations import Configuration
from isa.instructions import INSTRUCTION_BITS, INSTRUCTION_LINK_WORDS, RECORDS, Opcode
from isa.packets import Space
from isa.registers import Stop

UNITS = ("fire", "post", "vector")
OPCODES = {"fire": Opcode.FIRE, "post": Opcode.POST, "vector": Opcode.VECTOR}
QUEUE_DEPTH = 8
COMPLETED_BITS = 12


class UnitQueue(Component):
    """Instructions of one unit in order; the head is offered when what it waits for is complete.

    Latency two cycles from push to offer. `waiting` is 1 while the head may not start. `issued`
    counts instructions pushed in this token, `completed` the unit's done pulses.
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
                "completed": Out(COMPLETED_BITS),
                "idle": Out(1),
                "waiting": Out(1),
                **{f"completed_{u}": In(COMPLETED_BITS) for u in self.others},
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(
            width=self.record.bits, depth=QUEUE_DEPTH
        )
        head = Signal(self.record.layout())
        met = Signal()
        m.d.comb += [
            queue.w_data.eq(self.push.payload),
            queue.w_en.eq(self.push.valid),
            self.push.ready.eq(queue.w_rdy),
            head.eq(queue.r_data),
            met.eq(
                Cat(
                    getattr(self, f"completed_{u}") >= getattr(head, f"wait_{u}")
                    for u in self.others
                ).all()
            ),
            self.instruction.payload.eq(head),
            self.instruction.valid.eq(queue.r_rdy & met),
            queue.r_en.eq(self.instruction.ready & met),
            self.waiting.eq(queue.r_rdy & ~met),
        ]
        issued = Signal(COMPLETED_BITS)
        with m.If(self.clear):
            m.d.sync += [issued.eq(0), self.completed.eq(0)]
        with m.Else():
            m.d.sync += [
                issued.eq(issued + (self.push.valid & self.push.ready)),
                self.completed.eq(self.completed + self.done),
            ]
        m.d.comb += self.idle.eq(issued == self.completed)
        return m


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
                m.d.comb += getattr(queue, f"completed_{other}").eq(queues[other].completed)

        m.submodules.program = program = ProgramMemory(c, self.program_init)
        # Two stages that move together: what memory gives, and what is dispatched.
        address = Signal(range(c.program_depth))
        fetched, fetched_last = Signal(), Signal()
        held, held_last, instruction = Signal(), Signal(), Signal(INSTRUCTION_BITS)
        restart, advance, accepted = Signal(), Signal(), Signal()
        opcode = instruction[:4]
        m.d.comb += [
            program.tables.enable.eq(self.tables.enable),
            program.tables.space.eq(self.tables.space),
            program.tables.address.eq(self.tables.address),
            program.tables.data.eq(self.tables.data),
            program.address.eq(Mux(restart, 0, address)),
            advance.eq(accepted | ~held),
            program.enable.eq(restart | advance),
        ]
        m.d.sync += self.token_begun.eq(0)
        with m.If(restart):
            m.d.sync += [address.eq(1), fetched.eq(1), fetched_last.eq(0), held.eq(0)]
        with m.Elif(advance):
            m.d.sync += [
                address.eq(address + 1),
                fetched_last.eq(address == c.program_depth - 1),
                instruction.eq(program.instruction),
                held.eq(fetched),
                held_last.eq(fetched_last),
            ]

        last_of_prompt = Signal()
        made = Signal(32)
        reason = Signal(Stop)
        in_block = Signal(range(c.lanes))  # position mod P

        def next_position():
            """The running addresses that depend on the position; no product is formed."""
            m.d.comb += self.token_done.eq(1)
            m.d.sync += [
                self.position.eq(self.position + 1),
                self.rotation_base.eq(self.rotation_base + settings.rotation_stride),
                in_block.eq(in_block + 1),
            ]
            with m.If(in_block == c.lanes - 1):
                m.d.sync += self.key_row_offset.eq(self.key_row_offset + settings.key_stride)

        m.d.comb += [
            self.runs_head.eq(last_of_prompt),
            self.token_out.payload.eq(self.token),
            self.finished.payload.eq(reason),
        ]
        with m.FSM() as fsm:
            m.d.comb += self.running.eq(~fsm.ongoing("IDLE"))
            m.d.comb += self.busy.eq(fsm.ongoing("RUN") | fsm.ongoing("DRAIN"))
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [made.eq(0), last_of_prompt.eq(0)]
                    with m.If(self.reset_position):
                        m.d.sync += [
                            self.position.eq(0),
                            self.rotation_base.eq(0),
                            self.key_row_offset.eq(0),
                            in_block.eq(0),
                        ]
                    m.next = "TOKEN"
            with m.State("TOKEN"):  # a token is wanted: from the prompt, or the last one made
                m.d.comb += [restart.eq(1), clear.eq(1)]
                with m.If(self.position >= settings.context):
                    m.d.sync += reason.eq(Stop.CONTEXT_FULL)
                    m.next = "FINISH"
                with m.Elif(last_of_prompt):
                    m.d.sync += self.token_begun.eq(1)
                    m.next = "RUN"
                with m.Else():
                    m.d.comb += self.prompt.ready.eq(1)
                    with m.If(self.prompt.valid):
                        m.d.sync += [
                            self.token_begun.eq(1),
                            self.token.eq(self.prompt.payload),
                            last_of_prompt.eq(self.prompt_last),
                        ]
                        m.next = "RUN"
            with m.State("RUN"):
                with m.If(held):
                    with m.Switch(opcode):
                        for unit, queue in queues.items():
                            with m.Case(OPCODES[unit]):
                                bits = queue.record.bits
                                m.d.comb += [
                                    queue.push.payload.eq(instruction[:bits]),
                                    queue.push.valid.eq(1),
                                    accepted.eq(queue.push.ready),
                                ]
                        with m.Case(Opcode.HEAD):
                            m.d.comb += accepted.eq(last_of_prompt)
                            with m.If(~last_of_prompt):
                                m.next = "DRAIN"
                        with m.Default():
                            m.next = "DRAIN"
                with m.If(accepted & held_last):  # a full memory needs no END
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(idle):
                    next_position()
                    m.d.sync += self.token_position.eq(self.position)
                    with m.If(last_of_prompt):
                        m.d.sync += [
                            self.token.eq(self.next_token),
                            made.eq(made + 1),
                        ]
                        m.next = "EMIT"
                    with m.Elif(self.stop):
                        m.d.sync += reason.eq(Stop.STOPPED)
                        m.next = "FINISH"
                    with m.Else():
                        m.next = "TOKEN"
            with m.State("EMIT"):
                m.d.comb += self.token_out.valid.eq(1)
                with m.If(self.token_out.ready):
                    m.next = "FINISH"
                    with m.If(settings.end_token_enable & (self.token == settings.end_token)):
                        m.d.sync += reason.eq(Stop.END_TOKEN)
                    with m.Elif(made >= self.generate):
                        m.d.sync += reason.eq(Stop.COUNT)
                    with m.Elif(self.stop):
                        m.d.sync += reason.eq(Stop.STOPPED)
                    with m.Else():
                        m.next = "TOKEN"
            with m.State("FINISH"):  # what is left of the prompt is dropped first
                with m.If(last_of_prompt):
                    m.d.comb += self.finished.valid.eq(1)
                    with m.If(self.finished.ready):
                        m.next = "IDLE"
                with m.Else():
                    m.d.comb += self.prompt.ready.eq(1)
                    with m.If(self.prompt.valid):
                        m.d.sync += last_of_prompt.eq(self.prompt_last)
        return m
