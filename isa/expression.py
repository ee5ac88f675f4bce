"""Addresses and extents as expressions: printed by the documentation, evaluated by everybody else.

    words = ceiling(count, V)             # str(words): "ceil(count / V)"
    words.bounds({"count": 9, "V": 4})    # (3, 3)

A name stands for a number or for a range of numbers (lowest, highest), such as every position of a
context. The value is then the range in which the expression lies; it is exact where the names that
vary occur once in it, and never too narrow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

Bounds = tuple[int, int]
Names = Mapping[str, int | Bounds]


@dataclass(frozen=True)
class Expression:
    """A non-negative integer that depends on names. Combine with +, -, *, //, % and the functions
    below; what follows // or % must be a single number, not a range."""

    text: str
    names: frozenset[str]
    bounds: Callable[[Names], Bounds]
    strength: int = 3  # 3: stands alone; 2: a product; 1: a sum; 0: a condition

    def __str__(self) -> str:
        return self.text

    def named(self, text: str) -> "Expression":
        """The same value, printed as a name that is explained elsewhere."""
        return replace(self, text=text, strength=3)

    def within(self, strength: int) -> str:
        """The text, in brackets where its operator binds less than that."""
        return self.text if self.strength >= strength else f"({self.text})"

    def __add__(self, other: "Expression | int") -> "Expression":
        other = constant(other)
        return _combined(f"{self.within(1)} + {other.within(1)}", 1, (self, other),
                         lambda a, b: (a[0] + b[0], a[1] + b[1]))

    def __sub__(self, other: "Expression | int") -> "Expression":
        other = constant(other)
        return _combined(f"{self.within(1)} - {other.within(2)}", 1, (self, other),
                         lambda a, b: (a[0] - b[1], a[1] - b[0]))

    def __rsub__(self, other: int) -> "Expression":
        return constant(other) - self

    def __mul__(self, other: "Expression | int") -> "Expression":
        other = constant(other)
        return _combined(f"{self.within(2)} * {other.within(3)}", 2, (self, other),
                         lambda a, b: (a[0] * b[0], a[1] * b[1]))

    def __floordiv__(self, other: "Expression | int") -> "Expression":
        other = constant(other)
        return _combined(f"{self.within(2)} div {other.within(3)}", 2, (self, other),
                         lambda a, b: (a[0] // b[0], a[1] // b[0]))

    def __mod__(self, other: "Expression | int") -> "Expression":
        other = constant(other)
        return _combined(f"{self.within(2)} mod {other.within(3)}", 2, (self, other),
                         _remainder)


def _combined(text: str, strength: int, parts: tuple[Expression, ...],
              value: Callable[..., Bounds]) -> Expression:
    names = frozenset().union(*(part.names for part in parts))
    bounds = [part.bounds for part in parts]
    return Expression(text, names, lambda n: value(*[of(n) for of in bounds]), strength)


def _remainder(a: Bounds, b: Bounds) -> Bounds:
    if a[0] // b[0] == a[1] // b[0]:
        return a[0] % b[0], a[1] % b[0]
    return 0, b[0] - 1


def name(text: str) -> Expression:
    """The number or range that goes by this name."""

    def bounds(names: Names) -> Bounds:
        value = names[text]
        return value if isinstance(value, tuple) else (value, value)

    return Expression(text, frozenset((text,)), bounds)


def constant(value: Expression | int) -> Expression:
    """A number as an expression; an expression as it is."""
    if isinstance(value, Expression):
        return value
    both = value, value
    return Expression(str(value), frozenset(), lambda _: both)


def ceiling(a: Expression, b: Expression) -> Expression:
    """a / b rounded up."""
    return _combined(f"ceil({a.within(2)} / {b.within(3)})", 3, (a, b),
                     lambda x, y: (-(-x[0] // y[0]), -(-x[1] // y[0])))


def minimum(a: Expression, b: Expression) -> Expression:
    """The smaller one."""
    return _combined(f"min({a}, {b})", 3, (a, b),
                     lambda x, y: (min(x[0], y[0]), min(x[1], y[1])))


def equal(a: Expression, value: int) -> Expression:
    """1 where `a`, which must not vary, has this value; else 0."""
    return _combined(f"{a.within(1)} = {value}", 0, (a,), lambda x: (int(x[0] == value),) * 2)


def negated(flag: Expression) -> Expression:
    """1 where the flag is 0."""
    return _combined(f"not {flag.within(3)}", 1, (flag,), lambda x: (int(not x[0]),) * 2)


def both(a: Expression, b: Expression) -> Expression:
    """1 where neither flag is 0."""
    return _combined(f"{a.within(1)} and {b.within(1)}", 0, (a, b),
                     lambda x, y: (int(bool(x[0] and y[0])),) * 2)


def chosen(flag: Expression, yes: Expression | int, no: Expression | int) -> Expression:
    """`yes` where the flag, which must not vary, is not 0; else `no`; only that is evaluated."""
    yes, no = constant(yes), constant(no)

    def bounds(names: Names) -> Bounds:
        return (yes if flag.bounds(names)[0] else no).bounds(names)

    text = f"{yes.within(1)} if {flag}, else {no.within(1)}"
    return Expression(text, flag.names | yes.names | no.names, bounds, 0)
