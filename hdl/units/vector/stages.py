"""When what happens to a word in the vector unit: the one place that counts its registers."""

from hdl.lib.pipeline import Stages
from hdl.units.vector.modulator import Modulator
from hdl.units.vector.radix4 import Products
from hdl.units.vector.scaler import Scaler
from hdl.units.vector.softmax import Softmax
from isa.configurations import Configuration
from isa.instructions import Operation

STAGES = Stages(
    issued=0,  # its address is granted, and that of all that belongs to it
    read=1,  # it is on the memory's port
    source=1,  # it is in a register, and so is all that belongs to it
    factors=Modulator.STAGES["size"],  # of the products; of a rotation's second ones
    codes=Modulator.STAGES.between("size", "codes"),
    products=Products.LATENCY - Modulator.STAGES.between("size", "codes"),
    results=Scaler.LATENCY + 1,  # in a register, on the way to the queue
)
"""The stages of a word, counted from its issue. A store has its codes in that register already a
cycle behind the stage `codes` (STORED)."""

STORED = ("codes", 1)

READS = {Operation.ROTATE: 2, Operation.MODULATE: 2}
"""Words of vector memory that are read for each word of an operation, where that is not one."""

_WEIGHS = (Operation.SOFTMAX, Operation.GATE)


def cycles_to_done(c: Configuration, operation: Operation, words: int) -> int:
    """Cycles from the one in which an instruction is taken to its done, without stalls and with
    every read granted at once. `words` are those of its source."""
    done = 1  # it comes out of a register
    if operation in _WEIGHS:
        return words + STAGES["source"] + Softmax.STAGES["scalar"] + done
    if words == 0:
        return 1 + done
    if operation == Operation.STORE_KEY:
        return words * (c.vector_lanes // c.cores) + STAGES[STORED] + done
    if operation == Operation.STORE_VALUE:
        return words + STAGES[STORED] + done
    return words * READS.get(operation, 1) + STAGES["results"] + done
