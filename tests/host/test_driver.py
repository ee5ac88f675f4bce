"""The driver's side of the protocol, against a scripted device."""

import numpy as np
import pytest

from host.driver import Driver
from host.transport.packets import packet
from isa.configurations import CONFIGURATIONS
from isa.errors import SpikeletError
from isa.packets import Fault, Kind, RunFlag, Space
from isa.registers import REGISTERS, Stop
from tests.host.fake import VOCAB, FakeDevice, image, next_token


def expected(prompt: list[int], count: int) -> list[int]:
    tokens, token = [], prompt[-1]
    for position in range(len(prompt) - 1, len(prompt) - 1 + count):
        token = next_token(token, position)
        tokens.append(token)
    return tokens


def make(streamed: bool = False, **options) -> tuple[Driver, FakeDevice]:
    device = FakeDevice(streamed)
    return Driver(device, image(streamed, **options)), device


def test_load_writes_everything():
    seen = []
    device = FakeDevice()
    model = image()
    Driver(device, model, progress=lambda done, total: seen.append((done, total)))
    program = np.concatenate([w for _, w in sorted(device.written[Space.PROGRAM].items())])
    assert np.array_equal(program, model.sections[0].words)
    addresses = sorted(device.written[Space.PROGRAM])
    assert addresses[0] == 6 and len(addresses) > 2
    assert all(address % 6 == 0 for address in addresses)  # whole instructions in every packet
    assert np.array_equal(device.written[Space.SCHEDULE][0], model.sections[1].words)
    assert device.setting("context") == 32
    assert device.setting("epsilon_shift") == (-2) & 0xFFFFFFFF
    assert device.setting("end_token_enable") == 0
    assert seen[-1] == (40_008, 40_008) and seen == sorted(seen)


@pytest.mark.parametrize("register, value, message", [
    ("magic", 0, "no Spikelet device"),
    ("contract", 99, "built for contract 99"),
    ("configuration", CONFIGURATIONS["ulx3s"].identity, "'tiny', the device is 'ulx3s'"),
    ("configuration", 0xABCDEF01, "the device is 'abcdef01'"),
])  # fmt: skip
def test_identity(register, value, message):
    device = FakeDevice()
    device.registers[REGISTERS[register].address] = value
    with pytest.raises(SpikeletError, match=message):
        Driver(device, image())
    assert not device.written


@pytest.mark.parametrize("streamed", [False, True])
def test_greedy(streamed):
    driver, device = make(streamed)
    seen = []
    result = driver.generate([4, 7, 1], 9, on_token=seen.append)
    assert result.tokens == seen == expected([4, 7, 1], 9)
    assert result.stop is Stop.COUNT
    if streamed:  # the host is there for the weights of every token anyway
        assert [run[0] for run in device.runs] == [[4, 7, 1], *([t] for t in seen[:-1])]
        assert [run[2] for run in device.runs] == [RunFlag.RESET] + [0] * 8
    else:  # the device goes from token to token alone
        assert device.runs == [([4, 7, 1], 9, RunFlag.RESET)]
    assert result.counters["tokens"] == 3 + 9 - 1 and result.counters["cycles"] == 1100
    assert not device.streams


@pytest.mark.parametrize("streamed", [False, True])
def test_generations_start_afresh(streamed):
    driver, _ = make(streamed)
    first = driver.generate([4, 7], 5)
    assert driver.generate([4, 7], 5) == first


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_end_token(streamed, sampled):
    tokens = expected([5], 12)
    end = tokens[6]
    assert end not in tokens[:6]
    driver, device = make(streamed, end_token=end)
    result = driver.generate([5], 12, sampler=np.argmax if sampled else None)
    assert (result.tokens, result.stop) == (tokens[:7], Stop.END_TOKEN)
    assert not device.streams


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("prompt_length", [1, 5, 8])
def test_context_full(streamed, sampled, prompt_length):
    driver, device = make(streamed, context=8)
    prompt = list(range(prompt_length))
    result = driver.generate(prompt, 20, sampler=np.argmax if sampled else None)
    assert result.stop is Stop.CONTEXT_FULL
    assert result.tokens == expected(prompt, 9 - prompt_length)
    assert result.counters["tokens"] == 8
    assert not device.streams


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_stopped_by_the_host(streamed, sampled):
    driver, device = make(streamed)
    seen = []

    def on_token(token: int) -> bool:
        seen.append(token)
        return len(seen) < 4

    result = driver.generate([2], 15, on_token, sampler=np.argmax if sampled else None)
    assert result.tokens == seen == expected([2], 4)
    assert result.stop is Stop.STOPPED
    assert not device.streams
    assert driver.generate([2], 6).tokens == expected([2], 6)  # the link is still in step


@pytest.mark.parametrize("streamed", [False, True])
def test_sampled_tokens_are_fed_back(streamed):
    driver, device = make(streamed)
    result = driver.generate([4, 7], 4, sampler=lambda logits: int(np.argsort(-logits)[1]))
    prompts = [run[0] for run in device.runs]
    assert prompts == [[4, 7], *([token] for token in result.tokens[:-1])]
    assert [run[1] for run in device.runs] == [1] * 4
    flags = [run[2] for run in device.runs]
    assert flags == [RunFlag.RESET | RunFlag.LOGITS] + [RunFlag.LOGITS] * 3
    assert result.tokens != expected([4, 7], 4)


def test_logits():
    driver, _ = make()
    logits = driver.logits([3, 1])
    assert logits.shape == (VOCAB,)
    assert logits.argmax() == next_token(1, 1) and logits.min() < 0


@pytest.mark.parametrize("prompt, count, message", [
    ([], 4, "the prompt is empty"),
    ([1] * 33, 4, "the prompt has 33 tokens, the context of this image holds 32"),
    ([VOCAB], 4, "token 23, the model has 23 tokens"),
    ([-1], 4, "token -1"),
    ([1], 0, "0 new tokens"),
])  # fmt: skip
def test_wrong_prompts(prompt, count, message):
    driver, device = make()
    with pytest.raises(SpikeletError, match=message):
        driver.generate(prompt, count)
    assert not device.runs


@pytest.mark.parametrize("fault", Fault)
def test_faults_are_told(fault):
    driver, device = make()
    device._emit(Kind.ERROR, fault)
    with pytest.raises(SpikeletError, match="the device refused a packet: [a-z]"):
        driver.counters()


@pytest.mark.parametrize("words", [
    packet(Kind.TOKEN, value=3),
    packet(Kind.WRITE, value=3),
    np.array([0xDEAD, 1, 0], dtype=np.uint32),
    packet(Kind.DATA, length=1 << 30),
])  # fmt: skip
def test_link_out_of_step(words):
    driver, device = make()
    device._output = words
    with pytest.raises(SpikeletError, match="out of step"):
        driver.counters()


def test_a_setting_too_large_is_a_programmers_mistake():
    model = image()
    model.settings["product_shift"] = 64
    with pytest.raises(ValueError, match="product_shift = 64"):
        Driver(FakeDevice(), model)


@pytest.mark.parametrize("streamed", [False, True])
def test_counters_are_watched_during_a_generation(streamed, monkeypatch):
    monkeypatch.setattr("host.driver.WATCH_SECONDS", 0.0)
    driver, device = make(streamed)
    driver.generate([1, 2], 3)
    seen: list[int] = []
    result = driver.generate([1, 2], 6, watch=lambda counters: seen.append(counters["tokens"]))
    assert result.tokens == expected([1, 2], 6)
    assert len(seen) > 2 and seen == sorted(seen), seen
    assert seen[0] >= 2 and seen[-1] == result.counters["tokens"] == 7
    monkeypatch.setattr("host.driver.WATCH_SECONDS", 1e9)
    driver.generate([1, 2], 6, watch=lambda counters: pytest.fail("too early"))
    assert driver.logits([1]).size
