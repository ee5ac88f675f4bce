"""The CRC-32 of frames (isa/frames.py), a byte at a time."""

from amaranth.hdl import Cat, Const, Mux, Value

from isa.frames import CRC_POLYNOMIAL

CRC_START = 0xFFFFFFFF


def crc_step(crc: Value, byte: Value) -> Value:
    """The CRC register after a byte, whose lowest bit comes first. A frame's CRC is the complement
    of the register behind its last byte, which begins as CRC_START."""
    crc = crc ^ byte
    for _ in range(8):
        crc = Cat(crc[1:32], Const(0, 1)) ^ Mux(crc[0], CRC_POLYNOMIAL, 0)
    return crc
