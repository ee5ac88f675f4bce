"""The settings (isa/registers.py) of a model on a layout."""

from golden.quantisation.quantise import QuantisedModel
from host.compiler.layout import Layout
from isa.formats import SILU_FRACTION


def settings(q: QuantisedModel, a: Layout, end_token: int | None) -> dict[str, int]:
    """Everything but the firing schedule's start table; what is 0 everywhere is left out."""
    s = a.shapes
    values = dict(
        silu_widen=SILU_FRACTION - q.fraction,
        product_shift=q.fraction,
        mean_mantissa=q.norm.mean_mantissa,
        mean_shift=q.norm.mean_shift,
        epsilon_mantissa=q.norm.epsilon_mantissa,
        epsilon_shift=q.norm.epsilon_shift,
        rotation_stride=s.head_words,
        exponent_stride=a.exponent_stride,
        key_stride=s.key_stride,
        context=a.context,
        end_token=end_token or 0,
        end_token_enable=int(end_token is not None),
    )
    if a.streamed:
        values["row_ring_mask"] = a.row_ring - 1
        values["parameter_ring_mask"] = a.parameter_ring - 1
    if a.external:
        values |= dict(
            external_enable=1,
            external_embedding_words=a.areas.embedding // s.vocab,
            external_body=a.areas.embedding,
            external_body_words=a.areas.body,
            external_head=a.areas.embedding + a.areas.body,
            external_head_words=a.areas.head,
        )
    return values
