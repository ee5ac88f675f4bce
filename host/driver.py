"""The driver: loads a model image into a device and generates tokens, over any transport."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from host.transport import Transport
from host.transport.packets import (
    PacketLink,
    device_identity,
    named_counters,
    packet,
    read_counters,
)
from isa.configurations import CONFIGURATIONS
from isa.contents import image_identity
from isa.errors import SpikeletError
from isa.image import Image
from isa.packets import Kind, RunFlag, Space
from isa.registers import COUNTERS, SETTINGS, Stop

CHUNK_WORDS = 3 << 12  # in one packet: a multiple of the words of an entry, in every memory
WATCH_SECONDS = 0.1  # at least, between two readings of the counters during a generation

OnToken = Callable[[int], bool | None]
OnCounters = Callable[[dict[str, int]], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Generation:
    """What a generation gave: its tokens, why it ended, and what the device counted meanwhile."""

    tokens: list[int]
    stop: Stop
    counters: dict[str, int]


@dataclass(frozen=True)
class _New:
    """A token from the device: the argmax and the position that it was computed at.

    `logits` are None where they were not asked for.
    """

    token: int
    position: int
    logits: np.ndarray | None


class Driver:
    """A device with a model image in it.

    Checks the device's identity, then loads the image. A device whose bitstream already contains
    the image keeps it, and nothing is loaded. `progress` is called with (link words loaded, link
    words in all).

    Raises:
        SpikeletError: it is no Spikelet device, one of another contract, or the image was made for
            another configuration.
    """

    def __init__(
        self, transport: Transport, image: Image, progress: Progress | None = None
    ) -> None:
        self.image = image
        self._watch: OnCounters | None = None
        self._watched = 0.0
        self._link = PacketLink(transport)
        present = self._check_identity()
        if not present or present != image_identity(image):
            self._load(progress)
        self._layers = self._head = np.zeros(0, dtype=np.uint32)
        if image.stream is not None:
            self._layers, self._head = (
                np.concatenate([np.zeros(0, np.uint32), *(_stream(s, w) for s, w in part)])
                for part in (image.stream.body, image.stream.head)
            )

    def _check_identity(self) -> int:
        """The identity of the image that came with the bitstream; 0 where there is none.

        Raises:
            SpikeletError: as the class.
        """
        found = device_identity(self._link)
        if found["configuration"] != self.image.identity:
            known = {c.identity: c.name for c in CONFIGURATIONS.values()}
            name = known.get(found["configuration"], f"{found['configuration']:08x}")
            raise SpikeletError(f"the image was made for the configuration "
                                f"'{self.image.configuration}', the device is '{name}': compile "
                                "the model for that configuration")
        return found["image"]

    def _load(self, progress: Progress | None) -> None:
        done, total = 0, self.image.loaded_words
        settings = np.zeros(len(SETTINGS), dtype=np.uint32)
        for r in SETTINGS:
            value = self.image.settings.get(r.name, 0)
            low = -(1 << (r.bits - 1)) if r.signed else 0
            if not low <= value < low + (1 << r.bits):
                raise ValueError(f"setting {r.name} = {value} does not fit {r.bits} bits")
            settings[r.address - SETTINGS[0].address] = value & 0xFFFFFFFF
        self._link.write(Space.REGISTER, SETTINGS[0].address, settings)
        for section in self.image.sections:
            for at in range(0, section.words.size, CHUNK_WORDS):
                words = section.words[at : at + CHUNK_WORDS]
                self._link.write(section.space, section.address + at, words)
                # The answer shows that the device has taken the words, and reports faults.
                self._link.read(Space.REGISTER, SETTINGS[0].address, 1)
                done += words.size
                if progress is not None:
                    progress(done, total)

    def counters(self) -> dict[str, int]:
        """The device's counters by name; they wrap at 2**32."""
        return read_counters(self._link)

    def generate(
        self,
        prompt: Sequence[int],
        max_new_tokens: int,
        on_token: OnToken | None = None,
        sampler: Callable[[np.ndarray], int] | None = None,
        watch: OnCounters | None = None,
    ) -> Generation:
        """Begins a new context, runs the prompt, and generates at most `max_new_tokens` tokens.

        Args:
            prompt: token numbers, at least one.
            max_new_tokens: fewer come where the model ends the text or the context is full.
            on_token: called with each token as it comes. Where it returns False, the generation is
                stopped.
            sampler: maps logits (vocab,) to a token. Without it each token is the device's argmax,
                and with weights that are not streamed the device goes from token to token alone.
            watch: called after a token with what the device has counted since the beginning, every
                WATCH_SECONDS at most.

        Raises:
            SpikeletError: the prompt is empty, does not fit the context, or has a token that the
                model does not have; or max_new_tokens is below 1.
        """
        check_prompt(self.image, prompt, max_new_tokens)
        tokens: list[int] = []

        def took(token: int) -> bool:
            tokens.append(token)
            return on_token is None or on_token(token) is not False

        before = self.counters()

        def since(counters: dict[str, int]) -> dict[str, int]:
            return {name: counters[name] - before[name] & 0xFFFFFFFF for name in counters}

        self._watch = None if watch is None else lambda counters: watch(since(counters))
        if sampler is None and self.image.stream is None:
            stop = self._run(prompt, max_new_tokens, RunFlag.RESET, lambda new: took(new.token))
        else:
            stop = self._token_by_token(prompt, max_new_tokens, took, sampler)
        self._watch = None
        return Generation(tokens, stop, since(self.counters()))

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """(vocab,) int64 logits after the last of `tokens`, from an empty context."""
        check_prompt(self.image, tokens, 1)
        return self._one(tokens, RunFlag.RESET | RunFlag.LOGITS).logits

    def _token_by_token(self, prompt: Sequence[int], count: int, took: Callable[[int], bool],
                        sampler: Callable[[np.ndarray], int] | None) -> Stop:
        """Generates with one RUN for each token, and says why it ended, as the device would.

        This is for generations in which the host has something to send between tokens: the sampled
        token, or the streamed weights.
        """
        flags, extra = RunFlag.RESET, RunFlag(0) if sampler is None else RunFlag.LOGITS
        for made in range(1, count + 1):
            new = self._one(prompt, flags | extra)
            token = new.token if sampler is None else sampler(new.logits)
            if not took(token):
                return Stop.STOPPED
            if token == self.image.end_token:
                return Stop.END_TOKEN
            if made < count and new.position + 1 >= self.image.context:
                return Stop.CONTEXT_FULL
            prompt, flags = [token], RunFlag(0)
        return Stop.COUNT

    def _one(self, prompt: Sequence[int], flags: RunFlag) -> "_New":
        """One RUN, for one token.

        Raises:
            SpikeletError: the device sends no token or several, or logits where none are due.
        """
        news: list[_New] = []
        self._run(prompt, 1, flags, lambda new: news.append(new) or True)
        if len(news) != 1 or (news[0].logits is None) == bool(flags & RunFlag.LOGITS):
            raise SpikeletError(f"the device sent {len(news)} tokens where one was due, or no "
                                "logits with it: restart the device")
        return news[0]

    def _run(self, prompt: Sequence[int], count: int, flags: RunFlag,
             took: Callable[["_New"], bool]) -> Stop:
        """One RUN: hands each token to `took` until that returns False; why the device ended."""
        self._link.send(packet(Kind.RUN, flags=flags, value=count, payload=np.array(prompt)))
        self._feed(prompt)
        logits, stopping, reading = None, False, False
        while True:
            answer = self._link.receive()
            if answer.kind is Kind.DONE and answer.value in tuple(Stop):
                if reading:
                    self._watch(named_counters(self._link.expect(Kind.DATA).payload))
                return Stop(answer.value)
            if answer.kind is Kind.DATA and reading:
                self._watch(named_counters(answer.payload))
                reading = False
                continue
            if answer.kind is Kind.LOGITS:
                logits = answer.payload[: answer.value].astype(np.int32).astype(np.int64)
            elif answer.kind is Kind.TOKEN:
                # After STOP the token that the device was computing still comes; it is dropped.
                if not stopping and not took(_New(answer.value, answer.flags, logits)):
                    stopping = True
                    self._link.send(packet(Kind.STOP))
                reading = reading or self._ask()
            else:
                raise SpikeletError(f"the device sent {answer.kind.name} during a run: the link is "
                                    "out of step; restart the device")

    def _ask(self) -> bool:
        """Asks for the counters if they are watched and it is time; whether it has asked."""
        now = time.monotonic()
        if self._watch is None or now - self._watched < WATCH_SECONDS:
            return False
        self._watched = now
        self._link.send(packet(Kind.READ, space=Space.REGISTER, value=COUNTERS[0].address,
                               length=len(COUNTERS)))
        return True

    def _feed(self, prompt: Sequence[int]) -> None:
        """Sends the streamed weights of every position of a prompt.

        The head's weights follow only the last position, which alone gives a token.
        """
        if self.image.stream is None:
            return
        for token in prompt:
            self._link.send(_stream(Space.ROW, self.image.stream.embedding[token]))
            self._link.send(self._layers)
        self._link.send(self._head)


def _stream(space: Space, words: np.ndarray) -> np.ndarray:
    return packet(Kind.STREAM, space=space, payload=words)


def check_prompt(image: Image, prompt: Sequence[int], max_new_tokens: int) -> None:
    """Raises SpikeletError where `Driver.generate` would, so that no device is needed to tell."""
    if max_new_tokens < 1:
        raise SpikeletError(f"{max_new_tokens} new tokens: ask for at least 1")
    if not len(prompt):
        raise SpikeletError("the prompt is empty: give at least one token")
    if len(prompt) > image.context:
        raise SpikeletError(f"the prompt has {len(prompt)} tokens, the context of this image "
                            f"holds {image.context}: shorten the prompt, or take a larger "
                            "configuration")
    vocab = image.model["vocab"]
    wrong = [token for token in prompt if not 0 <= token < vocab]
    if wrong:
        raise SpikeletError(f"the prompt holds token {wrong[0]}, the model has {vocab} tokens: "
                            "use the model's own tokenizer")
