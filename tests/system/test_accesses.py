"""The golden device finds an access that isa/effects.py does not declare, and what it needs of it.

GoldenDevice.checked is on in all tests (tests/conftest.py).
"""

import re
from dataclasses import replace

import pytest

from golden.checkpoints.checkpoint import random_checkpoint
from golden.device.accesses import UndeclaredAccess
from golden.quantisation.quantise import quantise
from host.compiler.compile import compile_model
from host.driver import Driver
from host.transport.golden import GoldenTransport
from isa import effects
from isa.access import Access, Effect, Mode, Resource
from isa.configurations import configuration
from isa.expression import constant
from isa.instructions import Operation
from tests.golden.models import ODD, ODD_GATE, SEED

# Softmax's maximum register is for the hardware: the golden device looks at the scores.
NOT_MADE = {("SOFTMAX", Mode.READ, Resource.MAXIMUM)}
TABLES = {"FIRE": effects.FIRE, "POST": effects.POST,
          **{Operation(o).name: effect for o, effect in effects.OPERATIONS.items()}}


@pytest.fixture(scope="module")
def images():
    """A model with everything: biases, wide and grouped heads; the gate; streamed weights."""
    c = configuration("large")
    models = {m: quantise(random_checkpoint(m, SEED), 10) for m in (ODD, ODD_GATE)}
    return [compile_model(models[ODD], c, context=16),
            compile_model(models[ODD], c, "streamed", context=16),
            compile_model(models[ODD_GATE], c, context=16)]


def run(images) -> None:
    """Three positions of every image."""
    for image in images:
        Driver(GoldenTransport(configuration("large")), image).logits([1, 2, 3])


def declare(monkeypatch, name: str, changed: Effect) -> None:
    """Another declaration of FIRE, of POST or of an operation."""
    if name in ("FIRE", "POST"):
        monkeypatch.setattr(effects, name, changed)
    else:
        monkeypatch.setitem(effects.OPERATIONS, Operation[name], changed)


def without(effect: Effect, n: int, *instead: Access) -> Effect:
    """Without access n; the settings in its addresses stay declared."""
    accesses = list(effect.accesses)
    accesses[n : n + 1] = instead
    return replace(effect, accesses=tuple(accesses), settings=tuple(effect.names))


def test_what_is_declared_is_enough(images):
    run(images)


@pytest.mark.parametrize("name, n", [(name, n) for name, effect in TABLES.items()
                                     for n in range(len(effect.accesses))])
def test_every_access_is_made_and_needs_its_declaration(monkeypatch, images, name, n):
    access = TABLES[name].accesses[n]
    print(f"seed {SEED}: {name} {access.mode} {access.resource.name}")
    declare(monkeypatch, name, without(TABLES[name], n))
    if (name, access.mode, access.resource) in NOT_MADE:
        run(images)
        return
    with pytest.raises(UndeclaredAccess, match=rf"^{name} \(instruction \d+, position \d\) "
                                               rf"{access.mode} .*{access.resource.name}"):
        run(images)


@pytest.mark.parametrize("name, resource", [
    ("FIRE", Resource.VECTOR), ("FIRE", Resource.ROW), ("POST", Resource.VECTOR),
    ("POST", Resource.PARAMETER), ("ROTATE", Resource.ROTATION), ("STORE_KEY", Resource.ROW),
    ("SOFTMAX", Resource.VECTOR), ("MODULATE", Resource.VECTOR), ("FIRE", Resource.TILE),
])  # fmt: skip
def test_an_address_too_many_is_found(monkeypatch, images, name, resource):
    """One address fewer is declared than is touched."""
    print(f"seed {SEED}")
    effect = TABLES[name]
    n = next(n for n, a in enumerate(effect.accesses) if a.resource is resource)
    access = effect.accesses[n]
    declare(monkeypatch, name, without(effect, n, replace(access, count=access.count - 1)))
    with pytest.raises(UndeclaredAccess, match=rf"^{name} .*{resource.name} .*declared are"):
        run(images)


def test_a_lane_is_not_another(monkeypatch, images):
    """A key in the lane of another position."""
    print(f"seed {SEED}")
    effect = TABLES["STORE_KEY"]
    n = next(n for n, a in enumerate(effect.accesses) if a.resource is Resource.ROW)
    access = effect.accesses[n]
    declare(monkeypatch, "STORE_KEY", without(effect, n, replace(access, lane=access.lane + 1)))
    with pytest.raises(UndeclaredAccess, match="STORE_KEY .*writes ROW"):
        run(images)


@pytest.mark.parametrize("name, setting", [
    (name, setting) for name, effect in TABLES.items() for setting in effect.settings
    if not re.match(r"start_|skip_silent", setting)  # parts of a schedule, read as a whole
])
def test_a_setting_needs_its_declaration(monkeypatch, images, name, setting):
    print(f"seed {SEED}")
    effect = TABLES[name]
    fewer = tuple(s for s in effect.settings if s != setting)
    declare(monkeypatch, name, replace(effect, settings=fewer))
    with pytest.raises(UndeclaredAccess, match=f"{name} .*reads the setting {setting}"):
        run(images)


def test_a_queue_must_move_what_is_declared(monkeypatch, images):
    """Neither more tiles nor fewer than FIRE says."""
    print(f"seed {SEED}")
    effect = TABLES["FIRE"]
    n = next(n for n, a in enumerate(effect.accesses) if a.mode is Mode.GIVE)
    more = replace(effect.accesses[n], count=effect.accesses[n].count + constant(1))
    declare(monkeypatch, "FIRE", without(effect, n, more))
    with pytest.raises(UndeclaredAccess, match="FIRE .*gives 1 of TILE, declared are 2"):
        run(images)
