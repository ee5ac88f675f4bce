# amaranth: UnusedElaboratable=no
"""Queues of hdl.lib against a deque: what comes out, and when it may first."""

from collections import deque

import pytest
from amaranth.hdl import unsigned
from amaranth.lib.data import StructLayout

from hdl.lib.queues import QUEUE_WORDS, BypassQueue, Queue, QueueMemory
from tests.seeds import generator
from tests.units.lib_simulation import simulate

CYCLES = 600
RATES = ((1.0, 1.0), (0.5, 1.0), (1.0, 0.4), (0.7, 0.7), (1.0, 0.0))
"""Pairs of (probability of a word, probability that the other side is ready)."""


@pytest.mark.parametrize("depth", [QUEUE_WORDS, 11])
def test_queue_memory(depth):
    """Words in order, filled to the last place and emptied; also of a depth between powers."""
    dut = QueueMemory(StructLayout({"a": 3, "b": unsigned(9)}), depth)
    rng, words = generator("queue memory"), deque()

    async def play(ctx):
        lengths = set()
        for push, pop in RATES:
            for _ in range(CYCLES):
                if words:
                    oldest = ctx.get(dut.oldest)
                    assert (oldest.a, oldest.b) == words[0]
                pops = bool(words) and rng.random() < pop
                pushes = len(words) < depth and rng.random() < push
                new = rng.getrandbits(3), rng.getrandbits(9)
                ctx.set(dut.word, dict(zip("ab", new, strict=True)))
                ctx.set(dut.push, pushes)
                ctx.set(dut.pop, pops)
                await ctx.tick()
                words.extend([new] * pushes)
                if pops:
                    words.popleft()
                lengths.add(len(words))
        assert lengths == set(range(depth + 1))

    simulate(dut, play)


def test_queue():
    """Offers stay, nothing is lost, and every place is filled."""
    dut = Queue(unsigned(12))
    rng, words = generator("queue"), deque()  # (the first cycle of its offer, the word)

    async def play(ctx):
        cycle, most = 0, 0
        for rate, ready in RATES:
            offered = None
            for _ in range(CYCLES):
                if offered is None and rng.random() < rate:
                    offered = rng.getrandbits(12)
                ctx.set(dut.i.valid, offered is not None)
                ctx.set(dut.i.payload, rng.getrandbits(12) if offered is None else offered)
                ctx.set(dut.o.ready, rng.random() < ready)
                due = bool(words) and words[0][0] <= cycle
                assert ctx.get(dut.o.valid) == due
                if due:
                    assert ctx.get(dut.o.payload) == words[0][1]
                taken = offered is not None and ctx.get(dut.i.ready)
                leaves = due and ctx.get(dut.o.ready)
                await ctx.tick()
                if leaves:
                    words.popleft()
                if taken:
                    words.append((cycle + dut.first_word_latency, offered))
                    offered = None
                most = max(most, len(words))
                cycle += 1
        assert most == dut.depth

    simulate(dut, play)


def test_a_queue_is_ready_out_of_a_register():
    """Nothing that is driven in a cycle changes it there; a word a cycle goes through."""
    dut = Queue(unsigned(8))
    assert dut.registered_ready

    async def play(ctx):
        await ctx.tick().repeat(2)
        taken = 0
        ctx.set(dut.i.valid, 1)
        for number in range(100):
            ctx.set(dut.o.ready, 0)
            before = ctx.get(dut.i.ready)
            ctx.set(dut.o.ready, 1)
            assert ctx.get(dut.i.ready) == before
            ctx.set(dut.i.payload, number)
            if ctx.get(dut.o.valid):
                assert ctx.get(dut.o.payload) == taken
                taken += 1
            await ctx.tick()
        assert taken == 100 - dut.first_word_latency

    simulate(dut, play)


def test_bypass_queue():
    """A word passes an empty queue in its own cycle; others wait their turn."""
    dut = BypassQueue(unsigned(12), QUEUE_WORDS)
    rng, words = generator("bypass"), deque()
    assert dut.first_word_latency == 0

    async def play(ctx):
        lengths = set()
        for push, ready in RATES:
            for _ in range(CYCLES):
                pushes = len(words) < dut.depth and rng.random() < push
                word = rng.getrandbits(12)
                ctx.set(dut.push, pushes)
                ctx.set(dut.word, word)
                ctx.set(dut.o.ready, rng.random() < ready)
                words.extend([word] * pushes)
                assert ctx.get(dut.o.valid) == bool(words)
                if words:
                    assert ctx.get(dut.o.payload) == words[0]
                    if ctx.get(dut.o.ready):
                        words.popleft()
                lengths.add(len(words))
                await ctx.tick()
        assert lengths == set(range(dut.depth + 1))

    simulate(dut, play)


def test_depths_without_a_pointer_bit_to_spare_are_refused():
    for queue in (Queue, BypassQueue):
        with pytest.raises(ValueError, match="12 words: not a power of two"):
            queue(unsigned(8), 12)
