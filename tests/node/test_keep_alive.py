"""A box that stands on after its script: the record is written before, the lease holds, and nothing remains."""

import json
import threading

import pytest

from madrun.node.channel.link import SoloLink
from madrun.node.conduct import conduct
from madrun.node.joining.join import Party
from madrun.node.joining.judges import JUDGES
from madrun.node.task import Interrupt, Task
from madrun.planning import driver
from madrun.planning.explain import Explained
from madrun.registry.cardtree import tree_hash
from madrun.results.rundir import read_record

pytestmark = pytest.mark.slow  # real processes or commands in most of them


class Quiet:
    """A reporter that says nothing."""

    def phase(self, _name):
        pass

    line = follow = phase

    def unfollow(self):
        pass


@pytest.fixture
def run(tmp_path, make_job, make_test_plan, make_facts):
    """Runs a script that is kept alive on the process runtime; gives how it ended, and what `linger` saw."""

    def start(script, linger=None, interrupt=None, keep_alive=True, **job):
        source = tmp_path / "run.sh"
        source.write_text(script)
        files = {"run.sh": source}
        values = {
            "script_hash": tree_hash(files),
            "driver": driver.render("one", driver.run_line("run.sh", ""), 1.0),
        } | job
        task = Task(
            plan=make_test_plan(make_job(**values)),
            index=0,
            results=tmp_path / "results",
            secrets={},
            facts=make_facts(),
            files=files,
            image_context={},
            lock_dir=tmp_path / "locks",
            engine=None,
            command=("madrun", "run"),
            provenance=dict,
            explained=(Explained(key="grace", value=5, layer="default"),),
            keep_alive=keep_alive,
        )
        seen = []

        def look(ended, stands):
            seen.append((ended, stands()))
            if linger:
                linger(ended)

        ended = conduct(task, Party(SoloLink(JUDGES)), interrupt or Interrupt(), Quiet(), look)
        return ended, seen

    return start


def test_while_it_stands_the_record_is_there_and_the_files_are_copies(run):
    def linger(ended):
        folder = ended.run.node(0)
        assert read_record(ended.run.path).status == "SUCCESS"
        assert (folder / "output" / "made").read_text() == "1\n"
        assert (folder / "box" / "work" / "made").read_text() == "1\n"
        (folder / "box" / "work" / "later").write_text("2\n")

    ended, seen = run("echo performance: 5 tok; echo 1 > made\n", linger)
    assert ended.exit_code == 0
    assert seen == [(ended, True)]
    folder = ended.run.node(0)
    assert not (folder / "box").exists()
    assert (folder / "kept-alive" / "later").read_text() == "2\n"
    assert (folder / "steps.log").exists()


@pytest.mark.parametrize("script", ["exit 7\n", "echo performance: nan tok\n", "sleep 60\n"])
def test_a_run_that_failed_stands_too(run, script):
    ended, seen = run(script, timeout_s=1.0)
    assert ended.exit_code == 3
    assert [stands for _, stands in seen] == [True]
    assert not (ended.run.node(0) / "box").exists()


def test_a_run_that_the_user_ended_does_not_stand(run):
    interrupt = Interrupt()
    threading.Timer(1.0, lambda: interrupt.set("interrupted by SIGINT")).start()
    ended, seen = run("sleep 60\n", interrupt=interrupt)
    assert (ended.exit_code, seen) == (130, [])


def test_a_run_that_is_not_kept_does_not_linger(run):
    assert run("echo performance: 5 tok\n", keep_alive=False)[1] == []


def test_a_defect_while_it_stands_still_ends_it(run, tmp_path):
    def linger(_ended):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        run("echo performance: 5 tok\n", linger)
    (folder,) = (tmp_path / "results" / "runs").glob("*/node-0")
    assert not (folder / "box").exists()


def test_a_run_directory_holds_where_each_value_came_from_and_what_came_to_the_script(run):
    ended, _ = run("echo performance: 5 tok\n")
    folder = ended.run.node(0)
    assert json.loads((folder / "context.json").read_text())[0]["key"] == "grace"
    assert "PATH" in json.loads((folder / "environment.json").read_text())
