"""The tests that scripts/test.sh runs once more."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/failed_tests.py"
CASES = """<testsuites><testsuite>
<testcase classname="tests.e2e.test_a" name="test_good"/>
<testcase classname="tests.e2e.test_a" name="test_bad[x-&lt;y&gt; z]"><failure message="no">...</failure></testcase>
<testcase classname="tests.test_b" name="test_late"><failure message="no"/></testcase>
<testcase classname="tests.test_b" name="test_late"><error message="its end failed too"/></testcase>
<testcase classname="tests.test_b" name="test_skipped"><skipped type="pytest.skip" message="no GPU"/></testcase>
</testsuite></testsuites>"""


def listed(*files):
    return subprocess.run([sys.executable, SCRIPT, *files], capture_output=True, text=True, check=False)


def test_what_failed_is_named_once_as_pytest_takes_it(tmp_path):
    (tmp_path / "one.xml").write_text(CASES)
    assert listed(tmp_path / "one.xml").stdout.splitlines() == [
        "tests/e2e/test_a.py::test_bad[x-<y> z]",
        "tests/test_b.py::test_late",
    ]


def test_results_that_cannot_be_read_are_no_empty_list(tmp_path):
    (tmp_path / "cut.xml").write_text(CASES[:100])
    assert listed(tmp_path / "cut.xml").returncode != 0
