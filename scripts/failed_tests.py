"""Lists the failed tests of junit files as pytest takes them: python scripts/failed_tests.py junit.xml..."""

import sys
from pathlib import Path
from xml.etree import ElementTree


def failed(junit: Path) -> list[str]:
    """`tests/a/test_b.py::test_c[d]` of each test of a module that failed, or whose set-up or end did; each once."""
    found = []
    for case in ElementTree.parse(junit).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            found.append(f"{(case.get('classname') or '').replace('.', '/')}.py::{case.get('name')}")
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for path in sys.argv[1:] for name in failed(Path(path))))
