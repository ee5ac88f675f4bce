"""Clock generators: settings for a frequency, and the vendors' cells with these settings."""

from dataclasses import dataclass

from amaranth.hdl import Instance, Module, Signal

from hdl.boards.board import Board, Family
from isa.errors import SpikeletError

TOLERANCE = 0.005  # of the frequency that is asked for; all users are told the one that came out


@dataclass(frozen=True)
class PLL:
    """The dividers of a PLL: its oscillator runs at input / reference * multiplier, and the output
    is that divided by `post`. Frequencies in Hz."""

    input_hz: int
    reference: int
    multiplier: int
    post: int

    @property
    def detector_hz(self) -> float:
        return self.input_hz / self.reference

    @property
    def oscillator_hz(self) -> float:
        return self.detector_hz * self.multiplier

    @property
    def output_hz(self) -> float:
        return self.oscillator_hz / self.post


@dataclass(frozen=True)
class Limits:
    """What a family's PLL can do: frequencies in Hz, lowest and highest."""

    input_hz: tuple[float, float]
    detector_hz: tuple[float, float]
    oscillator_hz: tuple[float, float]
    reference: range
    multiplier: range
    post: tuple[int, ...]


LIMITS = {
    # ECP5 and ECP5-5G Family Data Sheet (FPGA-DS-02012), sysCLOCK PLL timing.
    Family.ecp5: Limits((8e6, 400e6), (10e6, 400e6), (400e6, 800e6), range(1, 129),
                        range(1, 129), tuple(range(1, 129))),
    # Artix-7 FPGAs Data Sheet (DS181), PLL switching characteristics, speed grade -1.
    Family.xilinx: Limits((19e6, 800e6), (19e6, 450e6), (800e6, 1600e6), range(1, 57),
                          range(2, 65), tuple(range(1, 129))),
}


def settings(family: Family, input_hz: int, output_hz: int) -> PLL:
    """The dividers whose output comes nearest; among equals those with the lowest reference
    divider, and then with the oscillator nearest to the middle of its range.

    Raises:
        SpikeletError: no setting comes within TOLERANCE, or the family has no PLL here.
    """
    if family not in LIMITS:
        raise SpikeletError(f"boards of the family {family} run at their own clock only: leave out "
                            f"--clock-mhz, or give {input_hz / 1e6:g}")
    limits = LIMITS[family]
    low, high = limits.oscillator_hz
    found = []
    for reference in limits.reference:
        detector = input_hz / reference
        if not limits.detector_hz[0] <= detector <= limits.detector_hz[1]:
            continue
        for post in limits.post:
            wanted = round(output_hz * post / detector)
            pll = PLL(input_hz, reference, wanted, post)
            if wanted in limits.multiplier and low <= pll.oscillator_hz <= high:
                found.append(pll)
    best = min(found, default=None, key=lambda p: (
        round(abs(p.output_hz - output_hz)), p.reference, abs(p.oscillator_hz - (low + high) / 2)))
    accepted = limits.input_hz[0] <= input_hz <= limits.input_hz[1]
    if not accepted or best is None or abs(best.output_hz - output_hz) > TOLERANCE * output_hz:
        nearest = f"; the nearest is {best.output_hz / 1e6:.3f} MHz" if best else ""
        raise SpikeletError(f"the board's PLL cannot make {output_hz / 1e6:g} MHz from "
                            f"{input_hz / 1e6:g} MHz{nearest}: choose another --clock-mhz")
    return best


def core_clock(board: Board, wanted_hz: int | None = None) -> tuple[PLL | None, int]:
    """The PLL of a board, None where its oscillator is the clock, and the frequency that comes out.

    Raises:
        SpikeletError: as `settings`.
    """
    wanted_hz = wanted_hz or board.core_hz
    if wanted_hz == board.clock_hz:
        return None, wanted_hz
    pll = settings(board.family, board.clock_hz, wanted_hz)
    return pll, round(pll.output_hz)


def ecp5_pll(pll: PLL, clock_in: Signal, clock_out: Signal, locked: Signal,
             late_out: Signal | None = None) -> Instance:
    """An EHXPLLL: CLKOP, the oscillator divided by `multiplier`, is compared with the input, and
    CLKOS is the output. The filter's attributes are those of Lattice's own tool. `late_out` is a
    clock that is three quarters of a cycle late, for the pins of an external memory."""
    feedback = Signal(name="pll_feedback")
    late = {} if late_out is None else dict(
        p_CLKOS2_ENABLE="ENABLED", p_CLKOS2_DIV=pll.post,
        p_CLKOS2_CPHASE=pll.post - 1 + 3 * pll.post // 4, p_CLKOS2_FPHASE=3 * pll.post % 4 * 2,
        i_ENCLKOS2=0, o_CLKOS2=late_out,
    )  # fmt: skip
    return Instance(
        "EHXPLLL",
        a_FREQUENCY_PIN_CLKI=f"{pll.input_hz / 1e6:.6f}",
        a_FREQUENCY_PIN_CLKOP=f"{pll.detector_hz / 1e6:.6f}",
        a_FREQUENCY_PIN_CLKOS=f"{pll.output_hz / 1e6:.6f}",
        a_ICP_CURRENT="12", a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED", p_FEEDBK_PATH="CLKOP",
        p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
        p_CLKI_DIV=pll.reference, p_CLKFB_DIV=1,
        p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=pll.multiplier,
        p_CLKOP_CPHASE=pll.multiplier - 1, p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=pll.post,
        p_CLKOS_CPHASE=pll.post - 1, p_CLKOS_FPHASE=0,
        i_CLKI=clock_in, i_CLKFB=feedback, i_RST=0, i_STDBY=0,
        i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0, i_PHASESTEP=0, i_PHASELOADREG=0,
        i_PLLWAKESYNC=0, i_ENCLKOP=0, i_ENCLKOS=0,
        o_CLKOP=feedback, o_CLKOS=clock_out, o_LOCK=locked, **late,
    )  # fmt: skip


def xilinx_pll(pll: PLL, clock_in: Signal, clock_out: Signal, locked: Signal) -> Module:
    """A PLLE2_BASE and the clock buffer behind it."""
    m = Module()
    feedback, output = Signal(name="pll_feedback"), Signal(name="pll_output")
    m.submodules.pll = Instance(
        "PLLE2_BASE",
        p_CLKIN1_PERIOD=1e9 / pll.input_hz, p_DIVCLK_DIVIDE=pll.reference,
        p_CLKFBOUT_MULT=pll.multiplier, p_CLKOUT0_DIVIDE=pll.post,
        i_CLKIN1=clock_in, i_CLKFBIN=feedback, i_RST=0, i_PWRDWN=0,
        o_CLKFBOUT=feedback, o_CLKOUT0=output, o_LOCKED=locked,
    )  # fmt: skip
    m.submodules.buffer = Instance("BUFG", i_I=output, o_O=clock_out)
    return m


CELLS = {Family.ecp5: ecp5_pll, Family.xilinx: xilinx_pll}
