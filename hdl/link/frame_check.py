"""CRC-32 of isa/frames.py, a byte at a time: only exclusive-ors."""

from amaranth.hdl import Cat, Const, Mux, Value

from isa.frames import CRC_POLYNOMIAL

CRC_START = 0xFFFFFFFF


def crc_step(crc: Value, byte: Value) -> Value:
    """The register after a byte, its lowest bit first; the CRC is its complement at the end."""
    crc = crc ^ byte
    for _ in range(8):
        crc = Cat(crc[1:32], Const(0, 1)) ^ Mux(crc[0], CRC_POLYNOMIAL, 0)
    return crc
