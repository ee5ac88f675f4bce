"""The loader's broadcast into a memory that keeps what is of its space."""

from amaranth.hdl import Module, Signal

from hdl.lib.copies import copy_of
from isa.packets import Space


def connect_tables(m: Module, port, tables, space: Space, data=None) -> None:
    """Writes what `tables` has for `space` through the write port `port` of a memory.

    The memory has a word two cycles after `tables` had it: the broadcast comes from far away, and a
    memory of look-up tables decodes its address before it writes, so a register lies between.
    `data` is what to write, made of tables.data (None: as it is).
    """
    data = tables.data if data is None else data
    enable = Signal(name=f"writes_{space.name.lower()}")
    # The address is the same for all memories: each has its own copy of it, where it lies.
    address = copy_of(m, tables.address[: len(port.addr)], f"written_{space.name.lower()}")
    entry = Signal.like(port.data, name=f"entry_{space.name.lower()}", reset_less=True)
    m.d.sync += [enable.eq(tables.enable & (tables.space == space)), entry.eq(data)]
    m.d.comb += [port.en.eq(enable), port.addr.eq(address), port.data.eq(entry)]
