"""What nobody brought home is brought when somebody asks for the launch: without any host but this one."""

import csv
import json
import socket
import sys

import pytest

from madrun.backends.launchfolder import ATTENDANT, LaunchFolder
from madrun.backends.ssh import leftbehind
from madrun.backends.ssh.carrying import Place
from madrun.cli.app import run
from madrun.cli.launchhome import bring_late
from madrun.errors import UsageError
from madrun.locks import is_held, locked
from madrun.node.seeing.presence import Presence, myself
from madrun.results.rundir import RunDir
from madrun.spec.codec import to_json
from madrun.spec.launch import HOME_LOCK, PRIVATE, Launch

ID = "20261121T000000Z-one-a1b2c3"
RUN = "20261121T000001Z-one-abcdef-1"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A launch whose command was killed when something lay on its host."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "results/launches" / ID
    values = {name: "" for name in ("master_addr", "repository", "python", "version")}
    values |= {name: () for name in ("words", "secrets", "modules")}
    values |= {name: {} for name in ("files", "given", "env", "images")}
    values |= {"id": ID, "backend": "ssh", "folder": str(path), "nnodes": 1, "cards": ("one",), "command": ("madrun",)}
    made = Launch(**values, master_port=1, control_port=2, results=str(tmp_path / "results"))
    folder = LaunchFolder.create(made, {}, {"MADRUN_SECRET": "s"})
    own = dict.fromkeys(("program", "repository"), "")
    place = Place(host="a", folder="/f", results="/r", shared=False, launch=ID, base="/b", python=sys.executable, **own)
    leftbehind.note_places(folder, [place])
    folder.journal("prepared", results="a:/r")
    folder.journal("started", hosts=["a"])
    return folder


@pytest.fixture
def node_0(folder, tmp_path, make_record, monkeypatch):
    """Stands for the way to node 0: brings a run of the launch, once; `wrong` is what keeps it from that."""

    class Node:
        wrong, asked, state = "", (), []

        def bring(self, launch_folder, here):
            self.asked = (*self.asked, tuple(here))
            self.state.append(is_held(folder.path / HOME_LOCK))
            if self.wrong:
                raise UsageError(self.wrong)
            self.lay(RUN)
            folder.journal("brought home", runs=[*here, RUN])
            leftbehind.note_cleared(launch_folder, leftbehind._places(launch_folder), ())
            return (*here, RUN)

        def lay(self, run_id):
            made = RunDir(tmp_path / "results/runs" / run_id)
            made.node(0).mkdir(parents=True)
            made.journal("begin", run_id=run_id, command=[], launch=ID)
            (made.path / "record.json").write_text(to_json(make_record(run_id)))

    made = Node()
    monkeypatch.setattr(leftbehind, "bring_late", made.bring)
    return made


def rows(tmp_path):
    return [row["run_id"] for row in csv.DictReader((tmp_path / "results/perf.csv").read_text().splitlines())]


def test_who_asks_for_a_launch_gets_its_run_and_row_once(folder, node_0, tmp_path, capfd):
    code = run(["status", ID])
    out, err = capfd.readouterr()
    assert (code, err) == (3, f"madrun: brought home: {RUN}\n")
    assert out.startswith(f"LOST {ID}")
    assert f"  run {RUN}: SUCCESS\n" in out
    assert "not here" not in out
    assert not (folder.path / PRIVATE).exists()
    run(["status", ID, "--json"])
    out, err = capfd.readouterr()
    assert (json.loads(out)["runs"], err) == ([{"run_id": RUN, "state": "SUCCESS"}], "")
    assert (node_0.asked, node_0.state, rows(tmp_path)) == (((),), [True], [RUN])


def test_what_keeps_it_is_told_and_it_is_tried_again(folder, node_0, tmp_path, capfd):
    node_0.wrong = "bringing home the results: a: ssh: connect to host a port 22: Connection refused"
    assert run(["status", ID]) == 3
    out, err = capfd.readouterr()
    assert err == f"madrun: {node_0.wrong}; madrun status {ID} tries again\n"
    assert "  not here: a:/r\n" in out
    assert "  to bring it here: scp -pr 'a:/r/runs/*' results/runs\n" in out
    node_0.wrong = ""
    bring_late(folder)
    assert rows(tmp_path) == [RUN]


def test_a_run_that_came_before_the_kill_is_named_and_gets_its_row_too(folder, node_0, tmp_path):
    before = "20261121T000000Z-one-abcdef-1"
    node_0.lay(before)
    (folder.path / "home-half").mkdir()
    bring_late(folder)
    assert (node_0.asked, sorted(rows(tmp_path))) == (((before,),), [before, RUN])
    assert not (folder.path / "home-half").exists()


def test_rows_are_added_where_the_command_was_killed_before_it_did(folder, node_0, tmp_path):
    node_0.lay(RUN)
    folder.journal("brought home", runs=[RUN])
    leftbehind.note_cleared(folder, leftbehind._places(folder), ())
    folder.journal("ended", exit_code=0, why="x")
    for _ in range(2):
        bring_late(folder)
        assert (node_0.asked, rows(tmp_path)) == ((), [RUN])


def test_of_an_attended_launch_nothing_is_taken(folder, node_0):
    presence = Presence(myself(run_id=ID), folder.path / ATTENDANT, None)
    try:
        bring_late(folder)
    finally:
        presence.leave()
    assert node_0.asked == ()


@pytest.mark.parametrize(("host", "asked"), [(socket.gethostname(), ((),)), ("login2", ())])
def test_after_a_restart_of_this_host_it_comes_and_from_under_another_host_it_does_not(folder, node_0, host, asked):
    (folder.path / ATTENDANT).write_text(to_json(myself(run_id=ID, boot="another", host=host)))
    bring_late(folder)
    assert node_0.asked == asked


@pytest.mark.slow
def test_what_is_being_brought_is_not_taken_away(folder, node_0, capfd):
    (folder.path / "home-half").mkdir()
    with locked(folder.path / HOME_LOCK):
        assert run(["gc", "--yes"]) == 0
        assert (folder.path / "home-half").exists()
    assert run(["gc", "--yes"]) == 0
    assert not (folder.path / "home-half").exists()
