"""A visit over loopback: what is wrong with one node is a finding on all, and the others are looked at all the same."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from madrun.doctor.flow import _told, _Visit, _why_not, examine
from madrun.node.task import Interrupt
from madrun.spec.finding import Finding

pytestmark = pytest.mark.slow
BUSY = Finding(name="MASTER_PORT", state="FAIL", text="29501 is in use", advice="end it")


@pytest.fixture
def visit(reporter):
    """Visits all at the same time; gives what each has found."""

    def start(patients, limit_s=20.0):
        with ThreadPoolExecutor(len(patients)) as pool:
            return list(pool.map(lambda patient: examine(patient, limit_s, Interrupt(), reporter), patients))

    return start


def states(report):
    return {finding.name: finding.state for finding in report.findings}


def test_node_0_hears_all_and_the_other_its_own_part_and_the_last_line(make_patients, visit):
    first, second = make_patients()
    found = visit([first, replace(second, findings=(BUSY,))])
    assert [node.rank for node in found[0].nodes] == [0, 1]
    assert states(found[0].nodes[0])["reach"] == "PASS"
    assert {"MASTER_PORT", "reach", "clock offset", "shm inside"} <= set(states(found[0].nodes[1]))
    assert [node.rank for node in found[1].nodes] == [1]
    assert states(found[1].nodes[0]) == states(found[0].nodes[1])
    assert (found[0].exit_code, found[1].exit_code) == (3, 3)
    assert "failed: MASTER_PORT on node 1" in found[1].overall
    (reduced,) = [finding for finding in found[0].together if finding.name == "all-reduce"]
    assert (reduced.state, reduced.text) == ("UNKNOWN", "not run: MASTER_PORT FAILed on node 1 (n1)")


def test_an_all_reduce_does_not_disturb_those_who_compute_on_the_gpus_of_a_node(make_patients):
    busy = Finding(name="GPU processes", state="FAIL", text="GPU 0: pid 7 python3 of bob", advice="wait")
    _, second = make_patients()
    assert _why_not(_Visit(second, Interrupt(), None, [busy])) == (
        "others compute on node 1 (n1), and it would disturb them"
    )
    assert _why_not(_Visit(second, Interrupt(), None, [replace(busy, state="WARN")])) == ""


@pytest.mark.parametrize("sent", [[{"name": "x", "state": "GREAT", "text": ""}], ["?"], 7, [{"colour": 1}]])
def test_findings_of_another_madrun_are_not_known_and_end_no_visit(sent):
    (found,) = _told(sent)
    assert (found.state, "cannot be read here" in found.text) == ("UNKNOWN", True)


def test_a_node_without_a_plan_is_looked_at_and_named(make_patients, visit):
    first, second = make_patients()
    lost = Finding(name="plan", state="FAIL", text="no such interface", advice="name another")
    found = visit([first, replace(second, plan=None, together=None, findings=(lost,))])
    assert states(found[0].nodes[1])["plan"] == "FAIL"
    assert states(found[0].nodes[1])["reach"] == "PASS"
    assert "same job" not in {finding.name for finding in found[0].together}


def test_jobs_that_differ_are_told_with_the_node_and_the_visit_goes_on(make_patients, visit):
    first, _ = make_patients()
    _, second = make_patients(timeout_s=90.0)
    second = replace(second, meeting=replace(second.meeting, port=first.meeting.port))
    found = visit([first, second])
    (same,) = [finding for finding in found[0].nodes[1].findings if finding.name == "same job"]
    assert "timeout differs: 1m00s on node 0, 1m30s on node 1" in same.text
    assert states(found[0].nodes[1])["shm inside"] != "FAIL"


def test_a_node_that_stays_away_is_named_after_the_time_limit_and_the_rest_is_looked_at(make_patients, visit):
    first, _ = make_patients()
    (found,) = visit([first], limit_s=0.3)
    (lost,) = [finding for finding in found.nodes[0].findings if finding.name == "nodes"]
    assert lost.state == "FAIL"
    assert "node 1 of 2 had not" in lost.text
    assert "shm inside" in states(found.nodes[0])
    assert found.exit_code == 3


def test_an_address_that_means_nothing_is_a_finding(make_patients, visit):
    first, _ = make_patients()
    (found,) = visit([replace(first, meeting=replace(first.meeting, address="no-such-host.invalid"))])
    (lost,) = [finding for finding in found.nodes[0].findings if finding.name == "nodes"]
    assert "no-such-host.invalid" in lost.text
    assert "shm inside" in states(found.nodes[0])


def test_one_node_alone_is_visited_without_a_channel(make_patients, visit):
    (found,) = visit(make_patients(nnodes=1))
    assert [node.rank for node in found.nodes] == [0]
    assert "reach" not in states(found.nodes[0])
    assert "all-reduce" in {finding.name for finding in found.together}


TORCH = """
import time
__version__ = "0"
device = str
class version:
    cuda = hip = None
class cuda:
    is_available = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 0)
"""


def test_an_all_reduce_that_fails_is_told_with_the_culprits_sentence_and_its_last_lines(make_patients, visit, tmp_path):
    """Node 0 waits for a rank that ends at once, as it would with the real torch."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text(TORCH)
    wait = "import time\ndef init_process_group(*_, **__): time.sleep(60)\n"
    (tmp_path / "torch/distributed.py").write_text(wait)
    patients = []
    for rank, patient in enumerate(make_patients()):
        env = {"PYTHONPATH": str(tmp_path), "WORLD_SIZE": "2", "RANK": "first" if rank else "0"}
        together, alone = with_env(patient.together, env), with_env(patient.alone, env)
        patients.append(replace(patient, together=together, alone=alone))
    found = visit(patients)
    (reduced,) = [finding for finding in found[0].together if finding.name == "all-reduce"]
    assert reduced.state == "FAIL", found
    assert "exit code 1 on node 1" in reduced.text
    assert "ValueError: invalid literal for int() with base 10: 'first'" in reduced.text
    assert "failed: all-reduce" in found[1].overall
    assert [one.exit_code for one in found] == [3, 3]


def with_env(task, env):
    """The task with further variables of its process."""
    node = task.plan.node
    process = replace(node.process, env=node.process.env | env)
    return replace(task, plan=replace(task.plan, nodes=(replace(node, process=process),)))
