"""Records anew what tests/system/test_results.py compares.

    python -m tests.system.record_results               # every case; minutes: a simulator is built
    python -m tests.system.record_results golden/       # cases whose names begin so

Only where integers change on purpose (the contract, the compiler's layout, the quantiser), or where
cycles fall; the commit says why, and its difference shows what moved. A change that should only
move or rename code, or make hardware easier to read, records nothing: there the code is wrong.
Cases whose reference files are absent keep what was recorded.

The image file is not written where there is one: it stands for images that users have. Where the
contract's version rises, such images are refused: remove the file, then record.
"""

import json
import sys

import pytest

from tests.system.results.cases import CASES, RESULTS, differences, text_of
from tests.system.results.devices import IMAGE_FILE, write_image_file


def record(begin: str = "") -> None:
    """Computes the cases whose names begin with `begin` and writes the file, the others as they
    were."""
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    new = {name: found for name, found in old.items() if name in CASES}
    if not IMAGE_FILE.exists():
        write_image_file()
    for name, case in CASES.items():
        if not name.startswith(begin):
            continue
        try:
            new[name] = json.loads(json.dumps(case.compute()))
        except pytest.skip.Exception as skipped:
            print(f"{name}: kept, as {skipped}")
            continue
        changed = differences(old.get(name), new[name])
        print(f"{name}: {'unchanged' if not changed else f'{len(changed)} differences'}")
        for line in changed if name in old else ():
            print(f"    {line}")
    RESULTS.write_text(text_of(new))


if __name__ == "__main__":
    record(*sys.argv[1:2])
