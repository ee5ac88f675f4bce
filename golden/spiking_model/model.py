"""The integer spiking BrainGPT: a whole sequence at once, in exactly the integers of the device.

Integers are carried in floating point, in a type in which they are exact: vectors in float64;
scores and probabilities, which have 24 bits at most, in float32. Codes are int8.
"""

import torch
from torch import Tensor

from golden.decoder import Record, decode, decoder_layer
from golden.spiking_model.loaded import LoadedModel
from golden.spiking_model.operators import SpikingArithmetic
from isa.errors import SpikeletError


class SpikingModel(LoadedModel):
    """The integers of a quantised model, for whole sequences (or part by part, as they are loaded).

    `forward` runs all of a model that is loaded whole. `embed`, `layer` and `logits` are its parts,
    for who loads one after the other.
    """

    def log_logits(self, ids: Tensor) -> Tensor:
        """Logits (T, vocab) as float64 in natural-log units: what `perplexity` takes."""
        return self.forward(ids).to(torch.float64) * 2.0**-self.model.fraction

    @torch.inference_mode()
    def forward(self, ids: Tensor, record: Record | None = None) -> Tensor:
        """Logits (T, vocab), int64 with the model's fraction bits, of token ids (T,).

        `record` receives every vector between operators under its name in docs/numerics.md,
        position first. Of `score.H` and `probability.H` (T, T) row p has p + 1 elements, the rest
        are 0. Codes come with `layers.N.key_exponent`, `.value_exponent` and `.alignment` (T, K).

        Raises:
            SpikeletError: no ids, more than the context holds, or ids outside the vocabulary.
        """
        c = self.config
        if not 1 <= len(ids) <= c.context:
            raise SpikeletError(f"the model takes 1 to {c.context} tokens, not {len(ids)}: give a "
                                "text of that length")
        if int(ids.min()) < 0 or int(ids.max()) >= c.vocab:
            raise SpikeletError(f"a token id is not in 0..{c.vocab - 1}: use the model's tokenizer")
        logits = decode(SpikingArithmetic(self, record), ids, c.layers)
        return logits.to(torch.int32).to(torch.int64)                    # 24 bits

    __call__ = forward

    def embed(self, ids: Tensor) -> Tensor:
        """The residual vectors (T, dim) of tokens, integers in float64."""
        return SpikingArithmetic(self).embed(ids)

    def layer(self, x: Tensor, n: int, record: Record | None = None) -> Tensor:
        """Layer n of the residual vectors x (T, dim), integers in float64."""
        return decoder_layer(SpikingArithmetic(self, record), x, n)

    def logits(self, x: Tensor) -> Tensor:
        """The logits (T, loaded rows of the head) of the residual vectors x (T, dim); float64."""
        logits, = SpikingArithmetic(self).normed(x, None, ("logits",))
        return logits
