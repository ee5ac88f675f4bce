"""A reset that is a register of its own."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal


def own_reset(m: Module, reset, domain: str) -> None:
    """A clock domain of m on our own clock, with `reset` as its only reset.

    `domain` is its name in m, a different one for each call. `reset` must come out of a register
    that our reset sets: then the register's wire goes to the flip-flops directly, and no gate that
    joins two resets stands before thousands of them.
    """
    m.domains += ClockDomain(domain, local=True)
    m.d.comb += [ClockSignal(domain).eq(ClockSignal()), ResetSignal(domain).eq(reset)]


def with_own_reset(m: Module, elaboratable, reset, domain: str = "device"):
    """`elaboratable` with its `sync` in a domain as `own_reset` makes it."""
    own_reset(m, reset, domain)
    return DomainRenamer(domain)(elaboratable)
