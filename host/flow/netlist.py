"""Netlists as Yosys writes them in JSON (its command write_json)."""


def top(design: dict) -> dict:
    """The top module of a design: the one that no other module contains."""
    return next(module for module in design["modules"].values()
                if module.get("attributes", {}).get("top"))
