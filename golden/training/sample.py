"""Text that a teacher writes: stories sampled from a checkpoint, many at a time."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch

from golden.checkpoints.atomic import replace_files
from golden.checkpoints.checkpoint import load_checkpoint
from golden.evaluation.perplexity import SEPARATOR
from golden.float_model.arithmetic import KeyValueCache
from golden.float_model.model import FloatModel
from golden.tokenizers.load import load_tokenizer
from golden.tokenizers.tokenizer import Tokenizer
from golden.training.loop import interrupts_held
from isa.errors import SpikeletError

BATCH = 64  # stories of a round: their keys and values stay in a processor's cache
_LISTEN_SECONDS = 0.1  # how often Ctrl-C is looked for while a round is written
COMPACT_BELOW = 7 / 8  # finished stories leave the batch when fewer than this share live


@torch.inference_mode()
def sample_ids(model: FloatModel, begin: int, end: int, seed: int, batch: int = BATCH,
               temperature: float = 1.0) -> Iterator[list[int]]:
    """Token ids of `batch` stories from `begin` (not included) to `end` (not included).

    Stories that fill the context are cut there. Those that end leave the batch, so that a step
    costs what its living stories cost. Finished stories come in the order of their end.

    Raises:
        SpikeletError: logits that are no finite numbers.
    """
    device = model.cosine.device
    generator = torch.Generator().manual_seed(seed)
    cache = KeyValueCache(model.config, batch, device=device)
    stories = [[] for _ in range(batch)]
    living = list(range(batch))
    ids = torch.full((batch, 1), begin)
    alive = torch.ones(batch, dtype=torch.bool)
    for _ in range(model.config.context - 1):
        logits = model(ids.to(device), cache=cache)[:, -1].cpu()
        if not torch.isfinite(logits).all():
            raise SpikeletError("the teacher's logits are no finite numbers: use "
                                "another one")
        # Sampling by the inverse of the cumulative distribution takes one random number a story.
        reached = torch.softmax(logits / temperature, -1).cumsum(-1)
        chance = torch.rand(len(ids), 1, generator=generator) * reached[:, -1:]
        ids = torch.searchsorted(reached, chance, right=True).clamp(max=logits.shape[-1] - 1)
        alive &= ids[:, 0] != end
        for row, token, going in zip(living, ids[:, 0].tolist(), alive.tolist(), strict=True):
            if going:
                stories[row].append(token)
        if int(alive.sum()) < COMPACT_BELOW * len(living):
            yield from (stories[row] for row, going in zip(living, alive.tolist(), strict=True)
                        if not going and stories[row])
            living = [row for row, going in zip(living, alive.tolist(), strict=True) if going]
            if not living:
                return
            cache = cache.select(alive.nonzero()[:, 0].to(device))
            ids, alive = ids[alive], alive[alive]
    yield from (stories[row] for row in living if stories[row])


class Teacher:
    """A checkpoint with its tokenizer that writes rounds of stories; one is made in each worker."""

    def __init__(self, checkpoint: Path, tokenizer: Path, seed: int, temperature: float) -> None:
        loaded = load_checkpoint(checkpoint)
        self.tokenizer: Tokenizer = load_tokenizer(tokenizer, loaded.config.vocab)
        if self.tokenizer.begin is None or self.tokenizer.end is None:
            raise SpikeletError(f"{tokenizer} names no token that begins and ends a text: a "
                                "teacher needs one")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = FloatModel(loaded).to(device)
        self.seed, self.temperature = seed, temperature

    def round(self, n: int) -> tuple[list[str], int]:
        """The texts of round n and the number of their tokens; each round has its own seed."""
        begin, end = self.tokenizer.begin, self.tokenizer.end
        stories = list(sample_ids(self.model, begin, end, self.seed + n,
                                  temperature=self.temperature))
        texts = [self.tokenizer.decode([begin, *ids]).strip() for ids in stories]
        return [text for text in texts if text], sum(map(len, stories))


_teacher: Teacher | None = None  # of a worker process


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)


def _hire(*arguments) -> None:
    global _teacher
    # Workers of a parent that is killed would go on: nothing else ends them.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _teacher = Teacher(*arguments)


def _round(n: int) -> tuple[list[str], int]:
    return _teacher.round(n)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start in this block never get Ctrl-C; their parent does, and ends them."""
    heard = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # The mask is for the children. Another thread of ours may take the signal (torch has some),
    # and Python would raise it here all the same, with a child half started.
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda _signal, _frame: heard.append(True)
                            ) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if heard:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _workers(count: int, arguments: tuple) -> Iterator[ProcessPoolExecutor]:
    """Worker processes with a teacher each; they end at once when the block is left."""
    pool = ProcessPoolExecutor(count, get_context("spawn"), _hire, arguments)
    try:
        with _deaf():
            for _ in range(count):  # each starts one, since none is idle yet
                pool.submit(int)
        yield pool
    finally:
        processes = list(pool._processes.values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def _sampled_so_far(partial: Path, state_file: Path, key: list) -> dict[str, Any]:
    """The state of an interrupted call with the same teacher, else that of a new one."""
    try:
        state = json.loads(state_file.read_text())
        if state["key"] == key and partial.stat().st_size >= state["bytes"]:
            return {name: state[name] for name in ("key", "rounds", "tokens", "bytes")}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {"key": key, "rounds": 0, "tokens": 0, "bytes": 0}


def sample_file(checkpoint: Path, tokenizer: Path, out: Path, tokens: int, seed: int = 0,
                temperature: float = 1.0, workers: int | None = None,
                tell: Callable[[int], None] = lambda done: None) -> int:
    """Writes texts of a teacher to a file, separators between, until they have `tokens` tokens.

    Rounds are independent and come in order, so the text does not depend on the number of
    worker processes (another processor may round a logit differently). After an interrupt the
    same call goes on where it was. Returns the tokens written.

    Raises:
        SpikeletError: a teacher without begin and end, or whose logits are no finite numbers, or
            which writes nothing; a file that cannot be written.
    """
    partial, state_file = out.with_name(out.name + ".partial"), out.with_name(out.name + ".state")
    arguments = (checkpoint, tokenizer, seed, temperature)
    state = _sampled_so_far(partial, state_file, [str(checkpoint), str(tokenizer), seed,
                                                  temperature])
    Teacher(*arguments)  # mistakes show here, not in a worker
    count = workers or os.cpu_count() or 1
    try:
        with (partial.open("ab") as file, _workers(count, arguments) as pool,
              interrupts_held() as check):
            file.truncate(state["bytes"])
            ahead = 2 * count
            waiting = [pool.submit(_round, state["rounds"] + n) for n in range(ahead)]
            while state["tokens"] < tokens:
                # An interrupt while a lock is waited for would leave it in disorder.
                while not wait(waiting[:1], _LISTEN_SECONDS).done:
                    check()
                check()
                texts, written = waiting.pop(0).result()
                if not texts:
                    raise SpikeletError(f"the teacher {checkpoint} writes nothing but the ends of "
                                        "texts: use another one")
                waiting.append(pool.submit(_round, state["rounds"] + ahead))
                file.write("".join(f"{text}\n{SEPARATOR}\n" for text in texts).encode())
                file.flush()
                state |= {"rounds": state["rounds"] + 1, "tokens": state["tokens"] + written,
                          "bytes": file.tell()}
                text = json.dumps(state).encode()
                replace_files(out.absolute().parent,
                              {state_file.name: lambda file, text=text: file.write(text)})
                tell(state["tokens"])
        partial.replace(out)
    except BrokenProcessPool:
        raise SpikeletError("a worker process ended by itself (is there enough memory?): use fewer "
                            "--workers; the same command goes on") from None
    except OSError as error:
        raise SpikeletError(f"cannot write {partial}: {error.strerror or error}; the same command "
                            "goes on when that is mended") from None
    state_file.unlink()
    return state["tokens"]
