"""The state of a run on the disk: of the same run, whole, or refused in one line."""

import os
import resource
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import random_checkpoint
from golden.training import loop
from golden.training.initial import untrained
from golden.training.loop import interrupts_held
from isa.errors import SpikeletError
from tests.golden.test_training import RULES, equal, first, third
from tests.golden.training import SHAPE, at_call, full, learnable
from tests.seeds import seed

FILE = "quantised.state.pt"


def refused(run) -> str:
    """A run that does not begin: its message, one line with what to do."""
    with pytest.raises(SpikeletError) as caught:
        run()
    message = str(caught.value)
    assert "\n" not in message and "delete it to begin again" in message
    return message


@pytest.mark.parametrize("changes", [{"seed": 7}, {"rate": 0.01}, {"length": 15}, {"distil": 1.0},
                                     {"float_share": 1.0}, {"batch": 3}], ids=str)
def test_other_settings(tmp_path, changes):
    first(tmp_path, 2)
    before = (tmp_path / FILE).read_bytes()
    assert "a run with other settings" in refused(lambda: first(tmp_path, 2, **changes))
    assert "a run with other settings" in refused(lambda: first(tmp_path, 3))
    assert (tmp_path / FILE).read_bytes() == before
    first(tmp_path, 2, save_every=5.0)      # does not change what comes out


def test_another_text_or_model(tmp_path):
    first(tmp_path, 2)
    assert "with another text" in refused(
        lambda: first(tmp_path, 2, learnable(seed=seed() + 1)))
    assert "another model to begin with" in refused(
        lambda: first(tmp_path, 2, start=untrained(SHAPE, seed() + 1)))
    assert "another model to begin with" in refused(
        lambda: first(tmp_path, 2, start=untrained(replace(SHAPE, dim=8), seed())))


def test_other_rules(tmp_path):
    third(tmp_path, 2)
    assert "another set of rules" in refused(
        lambda: third(tmp_path, 2, rules=replace(RULES, S_target=1.0)))
    start = random_checkpoint(SHAPE, seed())
    assert "another model to begin with" in refused(lambda: third(tmp_path, 2, start=start))


def test_a_state_that_does_not_say_what_it_belongs_to(tmp_path):
    """States were written without it once, and go on."""
    whole, _ = first(tmp_path, 2)
    state = torch.load(tmp_path / FILE, weights_only=True)
    del state["identity"], state["memory"]
    torch.save(state, tmp_path / FILE)
    assert equal(first(tmp_path, 2)[0], whole)


def test_damaged_states(tmp_path):
    first(tmp_path, 2)
    file = tmp_path / FILE
    good = file.read_bytes()
    other = torch.load(file, weights_only=True)
    other["model"].popitem()
    for damage in (b"", b"no state", good[:len(good) // 2], good[100:], other, [1, 2], {}):
        if isinstance(damage, bytes):
            file.write_bytes(damage)
        else:
            torch.save(damage, file)
        assert "quantised.state.pt is damaged" in refused(lambda: first(tmp_path, 2))


def interrupted(folder, monkeypatch) -> bytes:
    """A run that was interrupted at its second step; its state's bytes."""
    from golden.training import quantised_stage

    with monkeypatch.context() as patch:
        patch.setattr(quantised_stage, "cross_entropy",
                      at_call(2, quantised_stage.cross_entropy, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            first(folder, 4)
    return (folder / FILE).read_bytes()


def wrapped(state, file):
    """As torch tells of a disk that fills in the middle of a file."""
    file.write(b"half")
    raise RuntimeError("[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed")


@pytest.mark.parametrize("module, name, fails", [(torch, "save", full), (torch, "save", wrapped),
                                                 (os, "fsync", full)])
def test_a_disk_that_fills(tmp_path, monkeypatch, module, name, fails):
    before = interrupted(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fails)
        with pytest.raises(SpikeletError, match=r"^cannot write .*quantised.state.pt \(is the disk "
                                                r"full\?\): the state before it is untouched$"):
            first(tmp_path, 4)
    assert os.listdir(tmp_path) == [FILE] and (tmp_path / FILE).read_bytes() == before
    assert equal(first(tmp_path, 4)[0], first(tmp_path / "whole", 4)[0])


def test_a_file_that_may_not_grow(tmp_path, monkeypatch):
    """The operating system itself stops the write in the middle."""
    before = interrupted(tmp_path, monkeypatch)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(SpikeletError, match="is the disk full"):
            first(tmp_path, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == [FILE] and (tmp_path / FILE).read_bytes() == before


def test_saves_as_time_passes(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(loop.Trainer, "save", lambda self: steps.append(self.step))
    first(tmp_path, 3, save_every=0.0)
    first(tmp_path, 3, save_every=1000.0)
    assert steps == [1, 2, 3, 3, 3]


# Ctrl-C


def test_interrupts_wait_for_a_check():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_held() as check:
        check()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append(1)
        check()
        done.append(2)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_does_not_wait():
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        pytest.fail("the second one waited")


def test_a_signal_in_a_step_comes_after_it(tmp_path, monkeypatch):
    from golden.training import quantised_stage

    def press(value):
        os.kill(os.getpid(), signal.SIGINT)
        return value

    with monkeypatch.context() as patch:
        patch.setattr(quantised_stage, "cross_entropy",
                      at_call(2, quantised_stage.cross_entropy, press))
        with pytest.raises(KeyboardInterrupt):
            first(tmp_path / "cut", 4)
    assert torch.load(tmp_path / "cut" / FILE, weights_only=True)["step"] == 2
    assert equal(first(tmp_path / "cut", 4)[0], first(tmp_path / "whole", 4)[0])


def test_runs_outside_the_main_thread(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(first(tmp_path, 2)[0]))
    thread.start()
    thread.join()
    assert np.isfinite(found[0].weights["head"]).all()
