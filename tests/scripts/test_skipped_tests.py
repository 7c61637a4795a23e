"""The list of skipped tests that ends scripts/test.sh."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/skipped_tests.py"
PASSED = '<testcase classname="tests.a" name="test_passes" />'
SKIPPED = '<testcase classname="tests.a" name="test_gpu"><skipped type="pytest.skip" message="no GPU"/></testcase>'
EXPECTED_FAILURE = (
    '<testcase classname="tests.a" name="test_later"><skipped type="pytest.xfail" message=""/></testcase>'
)


def list_skips(junit: Path, *cases: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    junit.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    command = [sys.executable, str(SCRIPT), str(junit)]
    environment = {**os.environ, "CI": ci}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_skip_is_listed_with_its_reason(tmp_path: Path) -> None:
    result = list_skips(tmp_path / "junit.xml", PASSED, SKIPPED)
    assert result.returncode == 0
    assert result.stdout == "SKIPPED tests.a::test_gpu: no GPU\n1 tests skipped\n"


def test_a_skip_is_a_failure_in_ci(tmp_path: Path) -> None:
    assert list_skips(tmp_path / "junit.xml", PASSED, SKIPPED, ci="true").returncode == 1


@pytest.mark.parametrize("ci", ["", "true"])
def test_an_expected_failure_is_no_skip(tmp_path: Path, ci: str) -> None:
    result = list_skips(tmp_path / "junit.xml", PASSED, EXPECTED_FAILURE, ci=ci)
    assert (result.returncode, result.stdout) == (0, "0 tests skipped\n")
