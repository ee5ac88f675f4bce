"""Reads the golden device's trace as named vectors, heads without their padding."""

import numpy as np

from golden.device.machine import Write
from golden.quantisation.quantise import QuantisedModel
from host.compiler.shapes import Shapes
from isa.configurations import Configuration
from isa.image import Image


def named_vectors(
    q: QuantisedModel, c: Configuration, image: Image, trace: list[Write]
) -> dict[tuple[str, int], np.ndarray]:
    """{(name, position): vector} for every vector and code that the program wrote."""
    s, m = Shapes.of(q.config, c), q.config
    labels, named = image.model["labels"], {}

    def unpadded(data: np.ndarray, heads: int) -> np.ndarray:
        return data[: heads * s.head].reshape(heads, s.head)[:, : m.head_dim].ravel()

    for write in trace:
        label, data = labels[write.pc], write.data
        operator = label.split(".")[2] if label.startswith("layers") else label
        if operator in ("query", "rotated_query"):
            data = unpadded(data, m.heads)
        elif operator == "key_value":
            data = unpadded(data, 2 * m.kv_heads)
        elif operator == "rotated_key":
            data = unpadded(data, m.kv_heads)
        elif operator in ("key", "value"):
            heads = write.exponents[:: s.head // c.vector_lanes]
            named[label + "_exponent", write.position] = heads
            data = unpadded(data, m.kv_heads)
        elif operator == "mixed":
            data = unpadded(data, 1)
        elif operator in ("score", "probability"):
            data = data[: write.position + 1]
        elif operator in ("embedding", "attended", "down"):
            data = data[: m.dim]
        else:
            data = data[: m.hidden]
        named[label, write.position] = data
    return named
