"""How long work says how far it is."""

from collections.abc import Callable

Tell = Callable[[float, str], None]
"""Gets the share that is done, 0 to 1, and what is being done."""


def unheard(share: float, stage: str) -> None:
    """Tells nobody."""
