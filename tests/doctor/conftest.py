"""Nodes of a visit in this process: real driver, process runtime, control channel on loopback."""

from dataclasses import replace

import pytest
from own_ports import free_port

from madrun.doctor.flow import Patient
from madrun.node.task import Task
from madrun.spec.plan import RUN_DIR, HostProcess
from madrun.spec.topology import Meeting


class Quiet:
    """A reporter that remembers."""

    def __init__(self):
        self.phases, self.lines = [], []
        self.phase, self.line = self.phases.append, self.lines.append

    def follow(self, _console):
        pass

    def unfollow(self):
        pass


@pytest.fixture
def reporter():
    return Quiet()


@pytest.fixture
def make_task(tmp_path, make_job, make_node, make_test_plan, make_facts):
    """The task of a card whose script would fail: a doctor never runs it."""

    def make(rank=0, nnodes=1, ports=(29501, 29502), **job):
        source = tmp_path / "run.sh"
        source.write_text("echo the card itself was run; exit 9\n")
        node = make_node(node_rank=rank, hostname=f"n{rank}", master_port=ports[0], control_port=ports[1])
        box = f"{RUN_DIR}/node-{rank}/box"
        process = HostProcess(
            command=("bash", f"{box}/driver.sh"),
            workdir=f"{box}/work",
            env=node.process.env | {"NODE_RANK": str(rank), "MULTI_NODE_RUNNER": "python3"},
        )
        node = replace(node, process=process)
        plan = make_test_plan(make_job(nnodes=nnodes, **job), node)
        return Task(
            plan=plan,
            index=0,
            results=tmp_path / f"temporary-{rank}",
            secrets={},
            facts=make_facts(hostname=f"n{rank}"),
            files={"run.sh": source},
            image_context={},
            lock_dir=tmp_path / "locks",
            engine=None,
            command=("madrun", "doctor"),
            provenance=dict,
        )

    return make


@pytest.fixture
def make_patients(make_task):
    """Patients of one visit on loopback, on free ports."""

    def make(nnodes=2, **job):
        ports = free_port(), free_port()
        found = []
        for rank in range(nnodes):
            task = make_task(rank, nnodes, ports, **job)
            alone = replace(make_task(0, 1, ports), results=task.results / "alone")
            meeting = Meeting(
                nnodes=nnodes,
                node_rank=rank,
                address="127.0.0.1",
                port=ports[1],
                hostname=f"n{rank}",
                cards="doctor: one",
            )
            found.append(
                Patient(
                    card="one", facts=task.facts, meeting=meeting, plan=task.plan, alone=alone, together=task, ranks=1
                )
            )
        return found

    return make
