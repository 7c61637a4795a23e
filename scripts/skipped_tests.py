"""Lists the skipped tests of junit files, with reasons; exit 1 where there are any and CI=true.

python scripts/skipped_tests.py junit.xml...
"""

import os
import sys
from pathlib import Path
from xml.etree import ElementTree


def list_skips(junit: Path) -> list[str]:
    """One "test: reason" line for each skipped test. An expected failure is no skip."""
    lines = []
    for case in ElementTree.parse(junit).iter("testcase"):
        for skip in case.iter("skipped"):
            if skip.get("type") != "pytest.xfail":
                name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
                lines.append(f"{name}: {skip.get('message')}")
    return lines


def main(junits: list[Path]) -> int:
    skips = [line for junit in junits for line in list_skips(junit)]
    sys.stdout.write("".join(f"SKIPPED {line}\n" for line in skips))
    sys.stdout.write(f"{len(skips)} tests skipped\n")
    if skips and os.environ.get("CI") == "true":
        sys.stdout.write("with CI=true every test must run: give the machine what the skipped ones ask for\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(list(map(Path, sys.argv[1:]))))
