"""The float model layer by layer, for checkpoints too large to be whole in memory.

A walk takes all documents through one layer before it reads the next: it keeps the hidden states
and never more than one layer's weights. The head is multiplied some rows at a time. It measures
what the whole model would give.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from golden.checkpoints.checkpoint import Checkpoint
from golden.decoder import Record, decoder_layer
from golden.evaluation.perplexity import Perplexity
from golden.float_model.arithmetic import FloatArithmetic
from golden.float_model.model import FloatLayer, rotation_table, state_name
from golden.progress import Tell, unheard

Documents = list[list[int]]
HEAD_ROWS = 1 << 13  # rows of the head that are multiplied at a time
SMALL = 1 << 25  # parameters of a model whose layers are kept


@dataclass
class FloatWalk:
    """What the float model made of the documents.

    attended, residual: the residual stream after attention and after the MLP, (T, dim) by layer and
    document. largest, where: the absolute maximum of all vectors and biases, and whose it is.
    """

    attended: list[list[torch.Tensor]] = field(default_factory=list)
    residual: list[list[torch.Tensor]] = field(default_factory=list)
    perplexity: Perplexity = Perplexity(math.nan, 0)
    largest: float = 0.0
    where: str = "embedding"

    def see(self, name: str, vector: torch.Tensor) -> None:
        """Takes a vector's absolute maximum into account. Once it is not a number, it stays so."""
        peak = float(vector.abs().max())
        if not peak <= self.largest and not math.isnan(self.largest):
            self.largest, self.where = peak, name


class FloatLayers:
    """The float model's parts, each read when it is needed.

    `kept` says that the model is small, so that layers stay once they are read.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.config = checkpoint, checkpoint.config
        sizes = (math.prod(shape) for shape in self.config.weight_shapes().values())
        self.kept, self._layers = sum(sizes) <= SMALL, {}

    def layer(self, n: int) -> FloatLayer:
        """Layer n."""
        if n in self._layers:
            return self._layers[n]
        with torch.device("meta"):  # no memory for numbers that are replaced at once
            layer = FloatLayer(self.config)
        prefix = f"layers.{n}."
        layer.load_state_dict({
            state_name(name.removeprefix(prefix)): self._tensor(name)
            for name in self.config.weight_shapes() if name.startswith(prefix)}, assign=True)
        layer.requires_grad_(False)
        if self.kept:
            self._layers[n] = layer
        return layer

    def last_norm(self, x: torch.Tensor) -> torch.Tensor:
        """x after the last RMSNorm."""
        return torch.nn.functional.rms_norm(x, x.shape[-1:], self._tensor("final_norm"),
                                            self.config.norm_epsilon)

    def rotation(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine of the first `length` positions."""
        return rotation_table(replace(self.config, context=length))

    def embedding(self) -> torch.Tensor:
        """(vocab, dim)."""
        return self._tensor("embedding")

    def head(self) -> torch.Tensor:
        """(vocab, dim)."""
        return self._tensor("embedding" if self.config.tied else "head")

    def _tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.checkpoint.weights[name]))


class NextTokens:
    """The log-probability of each next token, from logits that come some columns at a time."""

    def __init__(self, documents: Documents) -> None:
        self.next = [torch.tensor(ids[1:], dtype=torch.int64) for ids in documents]
        self.total = [torch.full((len(ids),), -torch.inf, dtype=torch.float64)
                      for ids in self.next]
        self.wanted = [torch.zeros_like(total) for total in self.total]

    def add(self, document: int, first: int, logits: torch.Tensor) -> None:
        """Logits (T, columns) of the tokens from `first` on, in natural-log units."""
        logits = logits[:-1].to(torch.float64)
        self.total[document] = torch.logaddexp(self.total[document], logits.logsumexp(-1))
        column = self.next[document] - first
        here = (column >= 0) & (column < logits.shape[1])
        picked = logits.gather(1, column.clamp(0, logits.shape[1] - 1)[:, None])[:, 0]
        self.wanted[document] = torch.where(here, picked, self.wanted[document])

    def perplexity(self) -> Perplexity:
        """Of all documents; no number where none has two tokens."""
        count = sum(map(len, self.next))
        loss = sum(float((total - wanted).sum())
                   for total, wanted in zip(self.total, self.wanted, strict=True))
        mean = loss / count if count else math.nan
        return Perplexity(math.inf if mean > 700 else math.exp(mean), count)


@torch.inference_mode()
def walk_float(checkpoint: Checkpoint, documents: Documents,
               tell: Tell = unheard) -> FloatWalk:
    """Runs the float model over documents (lists of ids, each at most the context long)."""
    c, layers, walk = checkpoint.config, FloatLayers(checkpoint), FloatWalk()
    for name in checkpoint.config.weight_shapes():
        if name.rpartition(".")[2] in ("bq", "bk", "bv"):
            walk.see(name, torch.tensor(checkpoint.weights[name]))
    tell(0.0, "embedding")
    cosine, sine = layers.rotation(max(map(len, documents)))
    embedding = layers.embedding()
    states = [embedding[torch.tensor(ids)][None] for ids in documents]   # (1, T, dim)
    del embedding
    for x in states:
        walk.see("embedding", x)
    for n in range(c.layers):
        tell(n / (c.layers + 1), f"layer {n + 1}/{c.layers}")
        layer = layers.layer(n)
        attended = []
        for i, x in enumerate(states):
            record: Record = {}
            T = x.shape[1]
            arithmetic = FloatArithmetic(c, {n: layer}, (cosine[:T], sine[:T]), record=record)
            states[i] = decoder_layer(arithmetic, x, n)
            for name, vector in record.items():
                walk.see(name, vector)
            attended.append(record[f"layers.{n}.attended"][0])
        del layer, arithmetic  # before the next one is made
        walk.attended.append(attended)
        walk.residual.append([x[0] for x in states])
    tell(c.layers / (c.layers + 1), "head")
    probability, head = NextTokens(documents), layers.head()
    for i, x in enumerate(states):
        h = layers.last_norm(x[0])
        for first in range(0, c.vocab, HEAD_ROWS):
            logits = h @ head[first:first + HEAD_ROWS].T
            walk.see("logits", logits)
            probability.add(i, first, logits)
    walk.perplexity = probability.perplexity()
    return walk
