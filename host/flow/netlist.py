"""Netlists as Yosys writes them in JSON (its command write_json)."""


def top(design: dict) -> dict:
    """The module of a design that no other one contains."""
    return next(module for module in design["modules"].values()
                if module.get("attributes", {}).get("top"))
