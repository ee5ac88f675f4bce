"""The transports' own duties: order, answers while sending, devices that stay silent."""

import numpy as np
import pytest

from host.transport import simulated
from host.transport.golden import GoldenTransport
from host.transport.packets import PacketLink, packet
from host.transport.simulated import SimulatedTransport
from isa.configurations import CONFIGURATIONS
from isa.errors import SpikeletError
from isa.packets import Kind, Space
from isa.registers import IDENTITY_MAGIC, REGISTERS
from tests.seeds import seed

TINY = CONFIGURATIONS["tiny"]


@pytest.fixture(params=[GoldenTransport, SimulatedTransport])
def transport(request):
    with request.param(TINY) as opened:
        yield opened


def test_memory_comes_back(transport):
    link = PacketLink(transport)
    words = np.random.default_rng(seed()).integers(0, 1 << 32, 600, dtype=np.uint32)
    link.write(Space.ROW, 40, words)
    assert np.array_equal(link.read(Space.ROW, 40, 600), words)
    assert np.array_equal(link.read(Space.ROW, 100, 7), words[60:67])
    assert link.read(Space.REGISTER, REGISTERS["magic"].address, 1)[0] == IDENTITY_MAGIC


def test_packets_in_pieces(transport):
    words = packet(Kind.READ, space=Space.REGISTER, value=0x40, length=3)
    for word in words:
        transport.send(np.array([word], dtype=np.uint32))
    parts = [transport.receive(n) for n in (1, 2, 3)]
    assert np.concatenate(parts)[-3:].tolist()[0] == IDENTITY_MAGIC
    assert [part.size for part in parts] == [1, 2, 3]


def test_silence_is_an_error(transport, monkeypatch):
    monkeypatch.setattr(simulated, "ANSWER_CYCLES", 2000)
    transport.send(packet(Kind.READ, space=Space.REGISTER, value=0x40, length=3)[:2])
    with pytest.raises(SpikeletError):
        transport.receive(3)


def test_answers_wait_while_much_is_sent(monkeypatch):
    monkeypatch.setattr(simulated, "QUEUE_WORDS", 64)
    with SimulatedTransport(TINY) as transport:
        for address in range(0, 400, 4):
            transport.send(packet(Kind.WRITE, space=Space.ROW, value=address,
                                  payload=np.full(4, address)))
            transport.send(packet(Kind.READ, space=Space.ROW, value=address, length=4))
        assert transport.device.pending <= 64 + 7
        for address in range(0, 400, 4):
            answer = transport.receive(7)
            assert answer[1] == address and (answer[3:] == address).all()


def test_time_passes_in_simulation_only():
    with GoldenTransport(TINY) as golden:
        assert golden.cycles is None
    with SimulatedTransport(TINY) as sim:
        before = sim.cycles
        PacketLink(sim).read(Space.REGISTER, 0x40, 1)
        assert sim.cycles > before
