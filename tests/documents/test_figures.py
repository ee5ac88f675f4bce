"""Every figure of the README and of docs/ comes from docs/figures.json."""

import copy
import json
from dataclasses import replace

import pytest

from host.measure import figures, record
from isa.errors import SpikeletError

FIGURES = figures.load()
DOCUMENTS = figures.documents(FIGURES)
RECORD = json.loads(figures.PATH.read_text(encoding="utf-8"))
SMALL = {
    "runs": {"core": {"command": "python -c 'print(\"took 1,500 cycles, 2.51 W\")'",
                      "how": "measured", "commit": "0", "date": "2000-01-01",
                      "figures": {
                          "cycles": {"value": 1234, "form": ",d", "unit": "cycles",
                                     "find": "took (\\S+) cycles"},
                          "power": {"value": 2.49, "form": ".1f", "unit": "W",
                                    "find": "(\\S+) W"}}},
             "build": {"command": "make", "how": "measured", "commit": "0", "date": "2000-01-01",
                       "note": "entered by hand: an example",
                       "figures": {"time": {"value": 907, "form": "min", "unit": "s"}}}},
    "derived": {"twice": {"from": "2 * cycles", "form": ",d", "unit": "cycles"}},
    "given": {"80 MHz": "a setting"},
    "exempt": {},
}
GOOD = """\
It takes 1,234<!--cycles--> cycles at 80 MHz, 15 min 7 s<!--time--> to build, for `7 W` in 8 phases.

<!--figures: core twice-->
| | clock asked for | cycles, power | twice |
|---|---|---|---|
| 4 lanes | 50 MHz | 1,234, 2.5 W | 2,468 |
"""


def problems(text: str) -> list[str]:
    return figures.check(text, figures.Figures(SMALL)).problems


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_shows_the_record(path):
    text = path.read_text(encoding="utf-8")
    checked = figures.check(text, FIGURES)
    assert not checked.problems
    assert checked.text == text, "run python -m host.measure.figures --write"


def test_nothing_is_recorded_in_vain():
    """Every figure is shown or derived from, every given number stands somewhere."""
    checked = [figures.check(path.read_text(encoding="utf-8"), FIGURES) for path in DOCUMENTS]
    sources = " ".join(f["from"] for f in RECORD["derived"].values())
    shown = set().union(*(c.shown for c in checked))
    assert not {name for name in FIGURES.all if name not in shown and name not in sources}
    assert set(RECORD["given"]) == set().union(*(c.given for c in checked))
    for path in RECORD["exempt"]:
        assert (figures.ROOT / path).is_file()


def test_the_record_says_where_figures_come_from():
    for name, run in RECORD["runs"].items():
        assert run["how"] in ("measured", "derived", "projected"), name
        assert run["command"] and run["commit"] and run["date"], name
        assert all("find" in f for f in run["figures"].values()) or "by hand" in run["note"], name


def test_the_file_is_written_in_one_way(tmp_path):
    figures.save(RECORD, tmp_path / "figures.json")
    assert (tmp_path / "figures.json").read_text() == figures.PATH.read_text(encoding="utf-8")


def test_what_a_good_document_looks_like():
    checked = figures.check(GOOD, figures.Figures(SMALL))
    assert (checked.text, checked.problems) == (GOOD, [])
    assert checked.shown == {"cycles", "time", "power", "twice"}
    assert checked.given == {"80 MHz"}


@pytest.mark.parametrize("old, new", [
    ("It takes 1,234<!", "It takes 1,235<!"), ("1,234, 2.5 W", "1,234, 2.6 W"),
    ("15 min 7 s", "15 min 8 s"), ("| 2,468 |", "| 2,469 |"),
])  # fmt: skip
def test_another_value_is_found_and_replaced(old, new):
    changed = GOOD.replace(old, new)
    assert changed != GOOD
    assert figures.check(changed, figures.Figures(SMALL)).text == GOOD


@pytest.mark.parametrize("old, new, problem", [
    ("1,234<!--cycles-->", "1,234", "'1,234' names no recorded figure"),
    ("8 phases", "8 cycles", "'8' names no recorded figure"),
    ("at 80 MHz", "at 81 MHz", "'81' names no recorded figure"),
    ("<!--time-->", "<!--tine-->", "no recorded figure 'tine'"),
    ("| 2,468 |", "| |", "shows no twice"),
    ("| 2,468 |", "| 2,468, 9 |", "'9' names no recorded figure"),
    ("core twice", "core", "'2,468' names no recorded figure"),
    ("4 lanes", "4 MB", "'4' names no recorded figure"),
])  # fmt: skip
def test_a_figure_of_elsewhere_is_found(old, new, problem):
    changed = GOOD.replace(old, new)
    assert changed != GOOD
    assert any(problem in found for found in problems(changed))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_mutated_document_is_found(path):
    """With every recorded figure another one, every number of the document is."""
    text = path.read_text(encoding="utf-8")
    found = figures.check(text + "\nIt reaches 123.4 MHz.\n", FIGURES).problems
    assert any("'123.4'" in problem for problem in found)
    changed = copy.copy(FIGURES)
    changed.all = {n: replace(f, value=f.value + 100_000_000) for n, f in FIGURES.all.items()}
    checked = figures.check(text, changed)
    for name in checked.shown:
        assert changed.all[name].shown in checked.text, name
        assert changed.all[name].shown not in text, name
    assert figures.check(checked.text, FIGURES).text == text


def test_a_run_is_measured_again():
    changed = json.loads(json.dumps(SMALL))
    record.measure("core", changed["runs"]["core"], {}, figures.ROOT)
    values = {name: f["value"] for name, f in changed["runs"]["core"]["figures"].items()}
    assert values == {"cycles": 1500, "power": 2.51}
    assert changed["runs"]["core"]["date"] > "2020"
    assert changed["runs"]["core"]["commit"] != "0"


@pytest.mark.parametrize("name, command, message", [
    ("core", "python -c 'print(\"1 W\")'", "shows no 'cycles'"),
    ("core", "python -c 'raise SystemExit(3)'", "ended with status 3"),
    ("core", "spikelet eval --text F", "needs a file for F"),
    ("build", "make", "entered by hand: an example"),
])
def test_a_run_that_does_not_give_its_figures(name, command, message):
    run = json.loads(json.dumps(SMALL))["runs"][name] | {"command": command}
    before = json.dumps(run)
    with pytest.raises(SpikeletError, match=message):
        record.measure(name, run, {"F": None}, figures.ROOT)
    assert json.dumps(run) == before
