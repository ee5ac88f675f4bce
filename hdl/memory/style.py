"""Where synthesis should put a memory: block RAM is for rows first."""

DISTRIBUTED_WORDS = 1152  # of a deeper memory, look-up tables are worth more than a block RAM


def style(depth: int, block: bool = False) -> dict[str, str]:
    """Attributes of a memory of `depth` words: look-up tables when it is shallow, unless `block`.

    Yosys would infer block RAM for any memory with a clocked read. On the ECP5-85F the rows of
    `ulx3s` take 192 of 208 blocks, and program, parameters and vector memory the others.
    """
    if block or depth > DISTRIBUTED_WORDS:
        return {}
    return {"ram_style": "distributed"}


def table_style(block: bool) -> dict[str, str]:
    """Attributes of a table or a queue: look-up tables, or with `block` block RAM to spare."""
    return {"ram_style": "block" if block else "distributed"}
