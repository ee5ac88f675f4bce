"""Compares a simulated device with the golden device, write by write.

What is compared is every vector and every code of the key/value cache that the program writes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from golden.device.machine import Write
from isa.image import Image
from sim.simulated_device import TRACE_KINDS


@dataclass(frozen=True)
class Mismatch:
    """A difference between two devices.

    Attributes:
        label: the operator, as docs/numerics.md names it, with its layer.
        position: in the sequence.
        element: of the operator's vector.
        expected: what the golden device has written there, a value or words that say what.
        got: what the other device has written.
    """

    label: str
    position: int
    element: int
    expected: int | str
    got: int | str

    def __str__(self) -> str:
        layer, _, operator = self.label.removeprefix("layers.").partition(".")
        where = f"layer {layer}, {operator}" if operator else self.label
        return (
            f"{where}, position {self.position}, element {self.element}: "
            f"expected {self.expected}, got {self.got}"
        )


def _golden_words(trace: Sequence[Write], unit: str, lanes: int) -> Iterator[tuple]:
    """The words that one unit writes, in order.

    Each is (the write, the word's index in it, address, exponent, `lanes` elements), with address 0
    for codes of the cache and exponent 0 for vectors, as the simulated device records them.
    """
    for write in trace:
        if write.unit == unit:
            for n, data in enumerate(write.data.reshape(-1, lanes)):
                address = 0 if unit == "key_value" else write.address + n
                exponent = 0 if write.exponents is None else int(write.exponents[n])
                yield write, n, address, exponent, data


def first_mismatch(image: Image, golden: Sequence[Write], device: np.ndarray) -> Mismatch | None:
    """The first difference between a golden trace and a simulated one; None where there is none.

    First means first in program order. `device` are the records of sim.simulated_device. Each unit
    writes in program order, so its words are compared one by one, and the program counter of the
    golden write names the operator.
    """
    labels = image.model["labels"]
    lanes = device.dtype["data"].shape[0]
    found: list[tuple[int, int, Mismatch]] = []
    for kind, unit in enumerate(TRACE_KINDS):
        records = device[device["kind"] == kind]
        count = 0
        for write, n, address, exponent, data in _golden_words(golden, unit, lanes):
            label, at = labels[write.pc], write.position

            def report(element, expected, got, write=write, label=label, at=at) -> None:
                found.append((at, write.pc, Mismatch(label, at, element, expected, got)))

            if count >= len(records):
                report(n * lanes, f"{data.tolist()}", "nothing written")
                break
            record = records[count]
            count += 1
            if int(record["address"]) != address:
                report(n * lanes, f"word {address}", f"word {record['address']}")
                break
            if int(record["exponent"]) != exponent:
                report(n * lanes, f"exponent {exponent}", f"exponent {record['exponent']}")
                break
            differs = np.flatnonzero(record["data"] != data)
            if differs.size:
                lane = int(differs[0])
                report(n * lanes + lane, int(data[lane]), int(record["data"][lane]))
                break
        else:
            if count < len(records):
                mismatch = Mismatch(f"{unit} unit", -1, 0, "no more writes", "a write")
                found.append((1 << 30, 0, mismatch))
    return min(found, key=lambda f: f[:2])[2] if found else None
