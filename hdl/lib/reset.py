"""A reset that is a register of its own."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal


def with_own_reset(m: Module, elaboratable, reset):
    """`elaboratable` with its `sync` on the clock of ours, and `reset` as its only reset.

    `reset` must come out of a register that our reset sets. A gate that joins both would stand
    before every flip-flop; this way the register's wire goes to them directly.
    """
    m.domains += ClockDomain("device", local=True)
    m.d.comb += [ClockSignal("device").eq(ClockSignal()), ResetSignal("device").eq(reset)]
    return DomainRenamer("device")(elaboratable)
