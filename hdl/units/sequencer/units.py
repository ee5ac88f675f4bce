"""The three units that a program runs on, and how the sequencer counts their instructions."""

from isa.instructions import Opcode

UNITS = ("fire", "post", "vector")
OPCODES = {"fire": Opcode.FIRE, "post": Opcode.POST, "vector": Opcode.VECTOR}
COMPLETED_BITS = 12  # of a count of a token's completed instructions; waits are as wide
