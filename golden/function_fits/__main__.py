"""Prints the table of docs/functions.md; `--write` puts it into the document as well."""

import sys

from golden.function_fits import report

if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--write"]):
        sys.exit("python -m golden.function_fits [--write]")
    printed = report.table(report.shared_vectors())
    print(printed, end="")
    if sys.argv[1:]:
        document = report.PATH.read_text(encoding="utf-8")
        report.PATH.write_text(report.replaced(document, printed), encoding="utf-8")
