"""Named device configurations: every size of the hardware, as one frozen record."""

import zlib
from dataclasses import asdict, dataclass

from isa.errors import SpikeletError


@dataclass(frozen=True)
class Configuration:
    """Sizes of a device. All of lanes, cores, vector_lanes and neuron_lanes are powers of two."""

    name: str
    description: str
    cores: int  # G: synapse cores; neuron i belongs to core i mod G
    lanes: int  # P: accumulators (and weights read each cycle) a core
    vector_lanes: int  # V: elements of a vector memory word
    neuron_lanes: int  # N: EI-IF neurons that step together; a multiple of G and of V
    accumulator_bits: int  # width of a lane's accumulator
    context: int  # positions the prompt memory and key/value exponents have room for
    row_depth: int  # rows of P weights a core
    vector_depth: int  # words of V elements
    parameter_depth: int  # words of V gains
    rotation_depth: int  # words of V cosines and sines
    program_depth: int  # instructions
    exponent_depth: int  # words of V key exponents, and as many of value exponents
    alignments: int  # layers * key/value heads
    magnitudes: int = 64
    maxima: int = 16
    scalars: int = 16
    router_depth: int = 16  # entries of each core's event queue
    exponent_blocks: bool = False  # rows leave block RAM over: exponents take it
    spare_blocks: bool = False  # so do tables and queues, which are slower there
    external_words: int = 0  # 32-bit words of external memory, a power of two; 0: none

    def __post_init__(self) -> None:
        for field in ("cores", "lanes", "vector_lanes", "neuron_lanes"):
            value = getattr(self, field)
            if value < 1 or value & (value - 1):
                raise ValueError(f"{field} = {value} is not a power of two")
        if self.neuron_lanes % self.cores or self.neuron_lanes % self.vector_lanes:
            raise ValueError("neuron_lanes must be a multiple of cores and of vector_lanes")
        if self.vector_lanes % self.cores or self.lanes % self.vector_lanes:
            raise ValueError("vector_lanes must be a multiple of cores and divide lanes")
        if self.external_words & (self.external_words - 1) or self.external_words > 1 << 26:
            raise ValueError(f"external_words = {self.external_words} is no power of two to 2**26")
        if self.vector_lanes < 2:
            raise ValueError("vector_lanes must be at least 2: rotations turn pairs of elements")
        if self.lanes < 4:
            raise ValueError("lanes must be at least 4: a link word holds four weights")

    @property
    def identity(self) -> int:
        """CRC-32 of the sizes: the host refuses an image made for another device."""
        sizes = asdict(self)
        for name in ("description", "exponent_blocks", "spare_blocks"):
            del sizes[name]
        return zlib.crc32(repr(sorted(sizes.items())).encode())


CONFIGURATIONS = {
    c.name: c
    for c in (
        Configuration(
            "tiny", "unit tests and synthesis checks: 2 cores x 8 lanes",
            cores=2, lanes=8, vector_lanes=4, neuron_lanes=4, accumulator_bits=24, context=32,
            row_depth=1024, vector_depth=256, parameter_depth=256, rotation_depth=64,
            program_depth=256, exponent_depth=64, alignments=16,
        ),
        Configuration(
            "small", "other shapes in simulation: 2 cores x 32 lanes, head size up to 64",
            cores=2, lanes=32, vector_lanes=8, neuron_lanes=16, accumulator_bits=24, context=128,
            row_depth=8192, vector_depth=1024, parameter_depth=2048, rotation_depth=1024,
            program_depth=1024, exponent_depth=1024, alignments=64,
        ),
        Configuration(
            "minimal", "the smallest that is possible, for small boards: 1 core x 4 lanes",
            cores=1, lanes=4, vector_lanes=2, neuron_lanes=2, accumulator_bits=24, context=32,
            row_depth=1024, vector_depth=512, parameter_depth=256, rotation_depth=128,
            program_depth=256, exponent_depth=128, alignments=16, magnitudes=32,
            exponent_blocks=True, spare_blocks=True,
        ),
        Configuration(
            "ulx3s_25f", "ECP5-25F: 1 core x 16 lanes, weights streamed",
            cores=1, lanes=16, vector_lanes=2, neuron_lanes=4, accumulator_bits=24, context=128,
            row_depth=3072, vector_depth=768, parameter_depth=512, rotation_depth=512,
            program_depth=512, exponent_depth=1280, alignments=32, magnitudes=32,
            exponent_blocks=True, spare_blocks=True,
        ),
        Configuration(
            "ulx3s", "ULX3S-85F: 4 cores x 64 lanes, stories260K resident in block RAM",
            cores=4, lanes=64, vector_lanes=4, neuron_lanes=16, accumulator_bits=24, context=224,
            row_depth=1536, vector_depth=512, parameter_depth=1024, rotation_depth=1024,
            program_depth=512, exponent_depth=1152, alignments=32,
        ),
        Configuration(
            "tang_mega", "GW5AST-138: 1 core x 32 lanes, stories260K resident in block RAM",
            cores=1, lanes=32, vector_lanes=4, neuron_lanes=8, accumulator_bits=24, context=224,
            row_depth=12288, vector_depth=512, parameter_depth=1024, rotation_depth=1024,
            program_depth=512, exponent_depth=1152, alignments=32,
            exponent_blocks=True, spare_blocks=True,
        ),
        Configuration(
            "large", "simulation of larger models: 4 cores x 64 lanes, deep memories",
            cores=4, lanes=64, vector_lanes=8, neuron_lanes=16, accumulator_bits=26, context=512,
            row_depth=65536, vector_depth=4096, parameter_depth=16384, rotation_depth=4096,
            program_depth=4096, exponent_depth=16384, alignments=256,
        ),
        Configuration(
            "tiny_sdram", "tests of external memory: 2 cores x 8 lanes, 256 KB of it",
            cores=2, lanes=8, vector_lanes=4, neuron_lanes=4, accumulator_bits=24, context=32,
            row_depth=512, vector_depth=256, parameter_depth=64, rotation_depth=64,
            program_depth=256, exponent_depth=64, alignments=16, external_words=1 << 16,
        ),
        Configuration(
            "ulx3s_sdram", "ULX3S-85F: 2 cores x 32 lanes, weights in 32 MB of SDRAM",
            cores=2, lanes=32, vector_lanes=8, neuron_lanes=8, accumulator_bits=24, context=256,
            row_depth=4096, vector_depth=512, parameter_depth=512, rotation_depth=1024,
            program_depth=1024, exponent_depth=1024, alignments=64, exponent_blocks=True,
            external_words=1 << 23,
        ),
        Configuration(
            "sdram_25f", "ECP5-25F: 1 core x 16 lanes, weights in 32 MB of SDRAM",
            cores=1, lanes=16, vector_lanes=2, neuron_lanes=4, accumulator_bits=24, context=128,
            row_depth=3072, vector_depth=768, parameter_depth=512, rotation_depth=512,
            program_depth=512, exponent_depth=1280, alignments=32, magnitudes=32,
            exponent_blocks=True, spare_blocks=True, external_words=1 << 23,
        ),
    )
}  # fmt: skip


def configuration(name: str) -> Configuration:
    """The named configuration; an unknown name is a user's mistake."""
    if name not in CONFIGURATIONS:
        known = ", ".join(CONFIGURATIONS)
        raise SpikeletError(f"there is no configuration '{name}'; choose one of: {known}")
    return CONFIGURATIONS[name]
