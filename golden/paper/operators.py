"""Synapsis, SNNMatmul, SNNSoftmax and SNNSiLU of BrainTransformers, formed spike by spike in time.

Arrays are float32 tensors of any batch shape; each operand has one scale for the whole tensor, as
released. Source: arXiv 2410.14687 and its released code.
"""

import numpy as np

from golden.paper.neuron import Staircase, code_in_time


def synapsis(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, bits: int = 8) -> np.ndarray:
    """(..., inputs) -> (..., outputs): code x, accumulate, add bias, code the result."""
    spikes, scale = code_in_time(x, bits)
    accumulated = np.zeros((*x.shape[:-1], weight.shape[0]))
    for step in spikes:                                    # a spike adds or subtracts its column
        accumulated += step @ weight.T.astype(np.float64)
    spikes, out_scale = code_in_time(accumulated * scale + bias, bits)
    return (spikes.sum(0, dtype=np.float32) * out_scale).astype(np.float32)


def snn_matmul(q: np.ndarray, k: np.ndarray, bits: int = 8) -> np.ndarray:
    """(..., n, d), (..., m, d) -> (..., n, m): q k^T of two spike trains, grown step by step.

    With running sums A, B of the spikes a, b each step adds A b^T + a B^T - a b^T, so that the
    total is (sum a)(sum b)^T.
    """
    (a_train, a_scale), (b_train, b_scale) = code_in_time(q, bits), code_in_time(k, bits)
    total_a, total_b, out = np.zeros(q.shape), np.zeros(k.shape), 0.0
    for a, b in zip(a_train.astype(float), b_train.astype(float), strict=True):
        total_a, total_b = total_a + a, total_b + b
        b_t, total_b_t = b.swapaxes(-1, -2), total_b.swapaxes(-1, -2)
        out = out + total_a @ b_t + a @ total_b_t - a @ b_t
    return (out * (float(a_scale) * float(b_scale))).astype(np.float32)


def snn_softmax(x: np.ndarray, bits: int = 8) -> np.ndarray:
    """Softmax over the last axis of coded scores; each step emits the change since the last one."""
    train, scale = code_in_time(x, bits)
    accumulated, before, out = np.zeros(x.shape), np.zeros(x.shape), np.zeros(x.shape)
    for step in train:
        accumulated = accumulated + step * float(scale)
        e = np.exp(accumulated - accumulated.max(-1, keepdims=True))
        now = e / e.sum(-1, keepdims=True)
        out, before = out + (now - before), now
    return out.astype(np.float32)


# SNNSiLU: which neurons listen on which interval [low, high) of x; zero elsewhere. The decays are
# identified from the steps of the released output, the amplitudes are trained tables.
SILU_PIECES: list[tuple[float, float, list[Staircase]]] = [
    (0.0, np.inf, [Staircase(0.3, 0.95, 10), Staircase(0.3, 0.95, 10), Staircase(5.0, 1.0, 10)]),
    (-2.0, 0.0, [Staircase(-1.0, 0.999, 20)]),
    (-4.0, -2.0, [Staircase(-1.0, 0.999, 20)]),
    (-6.0, -4.0, [Staircase(-1.0, 0.999, 20)]),
]


def silu_fires(x: np.ndarray) -> np.ndarray:
    """(n,) -> (n, all steps of all neurons): 1 where a neuron of x's interval fires in a step."""
    columns = []
    for low, high, neurons in SILU_PIECES:
        inside = (x >= low) & (x < high)
        columns += [neuron.fires(x) & inside[:, None] for neuron in neurons]
    return np.concatenate(columns, -1).astype(float)


def fit_silu(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The amplitudes (of all steps of all neurons) that map x to y best, by least squares."""
    return np.linalg.lstsq(silu_fires(x), y, rcond=None)[0]


def snn_silu(x: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """(n,) -> (n,): the sum of the amplitudes of all steps in which a neuron fires."""
    return silu_fires(x) @ amplitudes
