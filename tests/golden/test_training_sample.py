"""Text that a teacher writes: rounds, workers, interrupts, teachers that cannot."""

import errno
import itertools
import json
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import random_checkpoint, save_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.float_model.model import FloatModel
from golden.training import sample
from golden.training.corpus import END
from golden.training.sample import Teacher, sample_file, sample_ids
from isa.errors import SpikeletError
from tests.golden.training import VOCAB, full, write_tokenizer
from tests.seeds import seed

SHAPE = ModelConfig(dim=16, hidden=24, layers=1, heads=2, kv_heads=1, head_dim=8, vocab=VOCAB,
                    context=12, tied=False)
TOKENS = 2200   # four rounds of 64 stories of at most 11 tokens


def write_teacher(folder: Path, end: int | None = 0, **changed: float) -> Path:
    """A random teacher with a tokenizer; some weights are one number throughout, `first` is that of
    the head's row 0."""
    teacher = random_checkpoint(SHAPE, seed())
    first = changed.pop("first", None)
    for name, value in changed.items():
        teacher.weights[name.replace("__", ".")][:] = value
    if first is not None:
        teacher.weights["head"][0] = first
    save_checkpoint(teacher, folder, write_tokenizer(folder),
                    {"bos_token_id": end, "eos_token_id": end})
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher"))


def call(teacher: Path, out: Path, workers: int, tell=lambda done: None, tokens: int = TOKENS,
         number: int = 3) -> int:
    return sample_file(teacher, teacher / "tokenizer.json", out, tokens, number, 1.0, workers, tell)


def rounds(teacher: Path, number: int = 3) -> list[tuple[list[str], int]]:
    """The rounds that make the file, one after the other."""
    writer, found = Teacher(teacher, teacher / "tokenizer.json", number, 1.0), []
    while sum(tokens for _, tokens in found) < TOKENS:
        found.append(writer.round(len(found)))
    return found


@pytest.fixture(scope="module")
def whole(teacher) -> bytes:
    """The file that an uninterrupted call writes."""
    return "".join(f"{text}\n{END}\n" for texts, _ in rounds(teacher) for text in texts).encode()


def interrupt_at(tokens: int):
    def tell(done: int) -> None:
        if done >= tokens:
            raise KeyboardInterrupt

    return tell


class InProcess:
    """A pool that works at once, in this process."""

    def __init__(self, arguments) -> None:
        self.teacher = Teacher(*arguments)

    def submit(self, function, n) -> Future:
        future = Future()
        try:
            future.set_result(self.teacher.round(n))
        except SpikeletError as error:
            future.set_exception(error)
        return future


@pytest.fixture
def in_process(monkeypatch):
    @contextmanager
    def workers(count, arguments):
        yield InProcess(arguments)

    monkeypatch.setattr(sample, "_workers", workers)


def test_any_number_of_workers_and_an_interrupt_write_the_same(teacher, tmp_path, whole):
    out, told = tmp_path / "out.txt", []
    with pytest.raises(KeyboardInterrupt):
        call(teacher, out, 2, interrupt_at(700))
    assert sorted(os.listdir(tmp_path)) == ["out.txt.partial", "out.txt.state"]
    with (tmp_path / "out.txt.partial").open("ab") as file:
        file.write(b"half a sto")       # written, and then interrupted before the state
    sums = list(itertools.accumulate(tokens for _, tokens in rounds(teacher)))
    assert call(teacher, out, 1, told.append) == sums[-1]
    assert told == [tokens for n, tokens in enumerate(sums) if n and sums[n - 1] >= 700]
    assert out.read_bytes() == whole and os.listdir(tmp_path) == ["out.txt"]
    texts = whole.decode().split(f"\n{END}\n")
    assert texts.pop() == "" and len(texts) > 64 * 3 and all(t.strip() == t != "" for t in texts)


def test_ctrl_c_comes_between_two_rounds(teacher, tmp_path, in_process):
    """Not into the middle of one, nor while a lock is waited for."""
    told = []

    def press(done: int) -> None:
        signal.raise_signal(signal.SIGINT)
        told.append(done)

    with pytest.raises(KeyboardInterrupt):
        call(teacher, tmp_path / "out.txt", 1, press)
    assert len(told) == 1 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    state = json.loads((tmp_path / "out.txt.state").read_text())
    assert (state["rounds"], state["tokens"]) == (1, told[0])
    assert state["bytes"] == (tmp_path / "out.txt.partial").stat().st_size


def test_rounds_differ_and_repeat(teacher):
    words = teacher / "tokenizer.json"
    one, other = Teacher(teacher, words, 3, 1.0), Teacher(teacher, words, 4, 1.0)
    assert one.round(0) == one.round(0) != one.round(1)
    assert one.round(0) != other.round(0)
    texts, tokens = one.round(0)
    assert 48 < len(texts) <= 64 and 0 < tokens <= 64 * (SHAPE.context - 1)


def model(**changes) -> FloatModel:
    return FloatModel(random_checkpoint(replace(SHAPE, **changes), seed()))


def test_stories_end_or_are_cut_at_the_context():
    endless = list(sample_ids(model(), 0, -1, seed(), batch=8))
    assert [len(ids) for ids in endless] == [SHAPE.context - 1] * 8
    ended = list(sample_ids(model(vocab=4), 0, 2, seed(), batch=64))
    assert all(2 not in ids and 0 < len(ids) < SHAPE.context for ids in ended)
    assert len({len(ids) for ids in ended}) > 3 and 32 < len(ended) < 64    # some end at once


def test_stories_follow_the_teachers_distribution():
    """First tokens of many stories, against the teacher's probabilities."""
    teacher = model(vocab=5, context=2)
    p = torch.softmax(teacher(torch.tensor([1]))[0] / 1.5, -1).numpy()
    firsts = [ids[0] for ids in sample_ids(teacher, 1, -1, seed(), batch=4000, temperature=1.5)]
    found = np.bincount(firsts, minlength=5) / 4000
    assert np.abs(found - p).max() < 5 * np.sqrt(0.25 / 4000) and p.max() - p.min() > 0.05


def test_a_story_does_not_depend_on_when_others_end():
    """A batch shrinks as stories end; what is left goes on from its own keys and values."""
    teacher = model(vocab=4)
    for ids in sample_ids(teacher, 0, 2, seed(), batch=16, temperature=1e-4):
        for n, token in enumerate(ids):
            logits = teacher(torch.tensor([0, *ids[:n]]))[-1]
            assert float(logits[token]) == pytest.approx(float(logits.max()), abs=1e-3)


def test_logits_that_are_no_numbers():
    broken = model()
    with torch.no_grad():
        broken.layers[0].w_up.weight[0, 0] = torch.nan
    with pytest.raises(SpikeletError, match="teacher's logits are no finite numbers"):
        list(sample_ids(broken, 0, 0, seed(), batch=2))


def test_teachers_that_cannot(tmp_path, in_process):
    """Each shows before or in the first round; what lies there from an earlier call stays."""
    (tmp_path / "out.txt").write_text("old")
    cases = {
        "no finite numbers": write_teacher(tmp_path / "nan", head=3e38),
        "writes nothing but the ends": write_teacher(
            tmp_path / "mute", embedding=1.0, final_norm=1.0, head=0.0, first=20.0,
            layers__0__wo=0.0, layers__0__w_down=0.0),
        "names no token that begins and ends": write_teacher(tmp_path / "endless", None),
        "does not exist": tmp_path / "absent",
    }
    for message, folder in cases.items():
        with pytest.raises(SpikeletError, match=message) as caught:
            call(folder, tmp_path / "out.txt", 1)
        assert "\n" not in str(caught.value)
        assert (tmp_path / "out.txt").read_text() == "old"


@pytest.mark.parametrize("damage", ["no json", "other key", "cut text", "old form"])
def test_states_that_do_not_fit_begin_again(teacher, tmp_path, in_process, whole, damage):
    out, told = tmp_path / "out.txt", []
    with pytest.raises(KeyboardInterrupt):
        call(teacher, out, 1, interrupt_at(700), number=9 if damage == "other key" else 3)
    state, partial = (out.with_name(out.name + end) for end in (".state", ".partial"))
    if damage == "no json":
        state.write_text(state.read_text()[:20])
    elif damage == "cut text":
        partial.write_bytes(partial.read_bytes()[:30])
    elif damage == "old form":
        state.write_text(json.dumps({"rounds": 1}))
    call(teacher, out, 1, told.append)
    assert out.read_bytes() == whole and len(told) >= 4


def test_a_disk_that_fills(teacher, tmp_path, in_process, whole, monkeypatch):
    out = tmp_path / "out.txt"
    with pytest.raises(KeyboardInterrupt):
        call(teacher, out, 1, interrupt_at(700))
    state = (tmp_path / "out.txt.state").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(sample, "replace_files", full)
        with pytest.raises(SpikeletError, match=f"cannot write .*{os.strerror(errno.ENOSPC)}; the "
                                                "same command goes on"):
            call(teacher, out, 1)
    assert (tmp_path / "out.txt.state").read_bytes() == state
    call(teacher, out, 1)
    assert out.read_bytes() == whole


def test_a_worker_that_is_killed(teacher, tmp_path):
    def kill(done: int) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(SpikeletError, match="worker process ended by itself .* same command goes"):
        call(teacher, tmp_path / "out.txt", 1, kill, tokens=10**9)
    assert json.loads((tmp_path / "out.txt.state").read_text())["rounds"] >= 1




def test_workers_end_with_a_parent_that_is_killed(teacher, tmp_path):
    """Killed, the parent can say nothing to them."""
    out = tmp_path / "out.txt"
    parent = multiprocessing.get_context("spawn").Process(
        target=sample_file, args=(teacher, teacher / "tokenizer.json", out, 10**9, 3, 1.0, 1))
    parent.start()
    wait_for(lambda: (tmp_path / "out.txt.state").exists())
    workers = children_of(parent.pid)
    assert workers
    parent.kill()
    parent.join()
    wait_for(lambda: not any(alive(worker) for worker in workers))


def children_of(pid: int) -> list[int]:
    """Process ids of a process's children."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for a parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.1)


def test_ctrl_c_waits_until_workers_have_started():
    """Also when the system gives the signal to a thread that does not block it."""
    ready, held = threading.Event(), False

    def press() -> None:
        ready.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()      # before: it does not inherit the mask
    with pytest.raises(KeyboardInterrupt):
        with sample._deaf():
            ready.set()
            thread.join()
            time.sleep(0.01)
            held = True
    assert held and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
