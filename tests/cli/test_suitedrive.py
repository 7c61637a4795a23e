"""A suite is driven case after case; wherever its driver is killed, another one goes on at the right place."""

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suite_parts import lost, record, suite

from madrun.backends.launchfolder import LaunchFolder
from madrun.cli.suitechild import Records
from madrun.cli.suitedrive import Drive, How
from madrun.errors import UsageError
from madrun.locks import locked
from madrun.node.task import Interrupt
from madrun.results.rundir import RunDir
from madrun.spec.launch import BAD_HOSTS, CASE, Launch
from madrun.suites.account import exit_code
from madrun.suites.folder import DRIVER, JOURNAL, SuiteFolder, find_suite

NAMES = ("a", "b", "c", "d")


class Play:
    """Starts cases as a test wants it: by name the ends of its attempts, each an exit code or a record."""

    def __init__(self, folder, **ends):
        self.results, self.ends, self.started = folder, {name: list(found) for name, found in ends.items()}, []
        self.interrupt, self.words = Interrupt(), []

    def start(self, start, _interrupt):
        name = start.words[start.words.index("--tags") + 1]
        self.started.append(name)
        self.words.append(start.words)
        end = self.ends.get(name, [0])
        end = end.pop(0) if len(end) > 1 else end[0]
        if end == "ctrl-c":
            self.interrupt.set("interrupted by SIGINT")
            return 130, 1.0
        if isinstance(end, int):
            return end, 1.0
        if isinstance(end, dict):  # what its launch has found of its hosts, before any run or without its record
            launch_of(
                self.results, f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{len(self.started)}", start.tag, end
            )
            return 2, 1.0
        run = RunDir(self.results / "runs" / f"2026-{len(list(self.results.glob('runs/*')))}")
        run.path.mkdir(parents=True)
        run.write_record(replace(end, run_id=run.run_id, provenance={"case": start.tag}))
        return end.exit_code, 20.0


def launch_of(results, name, tag, hosts):
    texts = dict.fromkeys(("master_addr", "repository", "results", "python", "version"), "")
    lists = dict.fromkeys(("words", "secrets", "cards", "modules", "command"), ())
    path = results / "launches" / name
    maps = {"files": {}, "given": {}, "images": {}, "env": {CASE: tag}}
    known = {"id": name, "backend": "ssh", "folder": str(path), "nnodes": 2, "master_port": 1, "control_port": 2}
    folder = LaunchFolder.create(Launch(**known, **texts, **lists, **maps), {}, {})
    folder.journal(BAD_HOSTS, hosts=hosts)


def drive(folder, made, play, **more):
    how = How(quiet=True, **{name: more.pop(name) for name in ("again", "available") if name in more})
    return Drive(folder=folder, suite=made, how=how, interrupt=play.interrupt, start=play.start, **more).run()


@pytest.fixture
def begun(tmp_path):
    """Makes a suite of these cases and writes it."""

    def begin(*names, **more):
        made = suite(*(names or NAMES), results=str(tmp_path), **more)
        folder = SuiteFolder(tmp_path / "suites" / made.id)
        folder.write(made)
        return folder, made

    return begin


def statuses(progress):
    return [progress.of(name).status for name in progress.names]


def test_every_case_is_run_once_and_its_end_is_known_afterwards(begun, tmp_path):
    folder, made = begun()
    play = Play(tmp_path, a=[record("a")], b=[record("b", None)], c=[5], d=[record("d", None, status="SKIPPED")])
    progress = drive(folder, made, play)
    assert play.started == list(NAMES)
    assert statuses(progress) == ["success", "invalid", "failed", "skipped"]
    assert statuses(folder.progress(made)) == statuses(progress)
    assert progress.of("a").attempts[0].runs[0].value == 1.0
    assert progress.of("c").reason == "exit code 5"
    assert exit_code(made, progress) == 3


def test_an_interrupt_ends_the_case_and_leaves_the_others_for_a_resume(begun, tmp_path):
    folder, made = begun()
    progress = drive(folder, made, Play(tmp_path, b=["ctrl-c"]))
    assert statuses(progress) == ["success", "interrupted", "pending", "pending"]
    assert exit_code(made, progress) == 130
    play = Play(tmp_path)
    assert statuses(drive(folder, made, play)) == ["success"] * 4
    assert play.started == ["b", "c", "d"]


def test_only_those_that_failed_are_run_again_when_asked_for(begun, tmp_path):
    folder, made = begun()
    drive(folder, made, Play(tmp_path, b=[3], d=[record("d", None)]))
    play = Play(tmp_path)
    progress = drive(folder, made, play, again=("b",), only=("b",))
    assert play.started == ["b"]
    assert statuses(progress) == ["success", "success", "success", "invalid"]
    assert [attempt.status for attempt in progress.of("b").attempts] == ["failed", "success"]


def test_a_rerun_that_was_interrupted_is_gone_on_with(begun, tmp_path):
    folder, made = begun()
    drive(folder, made, Play(tmp_path, b=[3], d=[3]))
    drive(folder, made, Play(tmp_path, b=["ctrl-c"]), again=("b", "d"), only=("b", "d"))
    play = Play(tmp_path)
    assert statuses(drive(folder, made, play)) == ["success"] * 4
    assert play.started == ["b", "d"]


def lines_of(data):
    found = []
    for line in data.split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0, 3]), min_size=4, max_size=4), st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_wherever_the_driver_is_killed_nothing_that_ended_is_run_again_and_nothing_is_left_out(
    tmp_path_factory, codes, cuts
):
    results = tmp_path_factory.mktemp("results")
    made = suite(*NAMES, results=str(results))
    folder = SuiteFolder(results / "suites" / made.id)
    folder.write(made)
    ends = {name: [code] for name, code in zip(NAMES, codes, strict=True)}
    drive(folder, made, Play(results, **ends))
    journal = folder.path / JOURNAL
    for cut in cuts:  # at any byte: what was being written is lost, or half of it is there
        data = journal.read_bytes()
        journal.write_bytes(data[: int(cut * len(data))])
        left = lines_of(journal.read_bytes())
        ended = [
            line["case"] for line in left if line["event"] == "ended" and line["attempt"]["status"] != "interrupted"
        ]
        begun = [line["case"] for line in left if line["event"] == "running"]
        play = Play(results, **ends)
        progress = drive(folder, made, play)
        assert play.started == [name for name in NAMES if name not in ended]
        assert statuses(progress) == ["success" if code == 0 else "failed" for code in codes]
        for name in NAMES:
            attempts = progress.of(name).attempts
            assert len(attempts) == begun.count(name) + (name not in ended)
            assert [attempt.status for attempt in attempts[:-1]] == ["interrupted"] * (len(attempts) - 1)


def test_what_a_lost_attempt_has_left_as_a_record_is_kept_with_its_cost(begun, tmp_path):
    folder, made = begun("a")
    killed = Play(tmp_path, a=[record("a", None, exit_code=130)])

    def dies(start, interrupt):
        killed.start(start, interrupt)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Drive(folder=folder, suite=made, how=How(quiet=True), interrupt=Interrupt(), start=dies).run()
    progress = drive(folder, made, Play(tmp_path))
    first, second = progress.of("a").attempts
    assert (first.status, first.reason, first.runs[0].seconds) == (
        "interrupted",
        "the driver of the suite was killed",
        10,
    )
    assert second.status == "success"


def test_a_case_that_failed_for_a_bad_node_is_tried_once_more_without_it(begun, tmp_path):
    folder, made = begun("a", "b", nnodes=2, backend="ssh", hosts=("h0", "h1 slots=4", "h2"))
    play = Play(tmp_path, a=[lost("a", 1), record("a")])
    progress = drive(folder, made, play)
    assert play.started == ["a", "a", "b"]
    assert [words[words.index("--hosts") + 1] for words in play.words] == ["h0\nh1 slots=4\n", "h0,h2", "h0,h2"]
    assert list(progress.bad) == ["h1"]
    assert progress.bad["h1"] == "node lost: node 1 was lost (a)"
    assert statuses(progress) == ["success", "success"]
    assert list(folder.progress(made).bad) == ["h1"]


def test_where_no_other_nodes_are_left_it_is_not_tried_again_and_bad_ones_are_used(begun, tmp_path):
    folder, made = begun("a", "b", nnodes=2, backend="ssh", hosts=("h0", "h1"))
    play = Play(tmp_path, a=[lost("a", 0)])
    drive(folder, made, play)
    assert play.started == ["a", "b"]
    assert play.words[1][play.words[1].index("--hosts") + 1] == "h1,h0"


def test_hosts_that_were_refused_before_the_start_are_noted_and_others_are_taken_as_often_as_there_are_some(
    begun, tmp_path
):
    hosts = ("h0", "h1", "h2 slots=4", "h3", "h4")
    folder, made = begun("a", "b", nnodes=2, backend="ssh", hosts=hosts)
    ends = [{"h0": "no answer: timed out"}, {"h1": "no python: none", "h2": "no shell: x"}, record("a")]
    play = Play(tmp_path, a=ends)
    progress = drive(folder, made, play)
    assert play.started == ["a", "a", "a", "b"]
    assert [words[words.index("--hosts") + 1] for words in play.words[1:]] == ["h1\nh2 slots=4\n", "h3,h4", "h3,h4"]
    assert progress.bad["h2"] == "no shell: x (a)"
    assert progress.of("a").attempts[1].reason == "h1: no python: none; h2: no shell: x"
    assert statuses(progress) == ["success", "success"]


def test_what_a_launch_that_came_to_no_run_says_of_its_end_is_the_reason_of_its_case(begun, tmp_path):
    folder, made = begun("a", "b", nnodes=2, backend="kubernetes")
    play = Play(tmp_path, b=[7])

    def refused(start, interrupt):
        if "--tags a" in " ".join(start.words):
            launch_of(tmp_path, f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-x", start.tag, {})
            place = next((tmp_path / "launches").glob("*-x"))
            LaunchFolder(place).journal("ended", exit_code=2, why="jobs may not be created in namespace bench")
            return 2, 1.0
        return play.start(start, interrupt)

    how = How(quiet=True)
    progress = Drive(folder=folder, suite=made, how=how, interrupt=play.interrupt, start=refused).run()
    first, second = (progress.of(name).attempts[-1] for name in "ab")
    assert first.reason == progress.of("a").reason == "jobs may not be created in namespace bench"
    assert first.launch.endswith("-x")
    assert (second.reason, second.launch) == ("exit code 7", "")
    assert progress.launched() == [] and progress.bad == {}


@pytest.mark.parametrize(("retry", "times"), [(0, 1), (1, 2)])
def test_hosts_that_were_refused_are_no_reason_to_try_again_without_others_or_against_the_file(
    begun, tmp_path, retry, times
):
    folder, made = begun("a", nnodes=1, backend="ssh", hosts=("h0", "h1"), retry_bad_node=retry)
    play = Play(tmp_path, a=[{"h0": "no answer"}, {"h1": "no answer"}])
    assert statuses(drive(folder, made, play)) == ["failed"]
    assert len(play.started) == times


def test_what_other_launches_have_found_of_their_hosts_is_left(begun, tmp_path):
    folder, made = begun("a", nnodes=1, backend="ssh", hosts=("h0", "h1"))
    launch_of(tmp_path, "99991121T000000Z-x", "other/a/1", {"h0": "no answer"})
    launch_of(tmp_path, "20261121T000000Z-x", f"{made.id}/a/1", {"h0": "no answer"})
    (tmp_path / "launches/99991121T000000Z-y").mkdir()
    assert drive(folder, made, Play(tmp_path, a=[2])).bad == {}


def test_in_an_allocation_bad_nodes_are_excluded_as_long_as_enough_are_left(begun, tmp_path):
    folder, made = begun("a", "b", "c", nnodes=2, backend="slurm", exclude="x9")
    play = Play(tmp_path, a=[lost("a", 1), record("a")], b=[lost("b", 0)])
    progress = drive(folder, made, play, available=3)
    assert play.started == ["a", "a", "b", "c"]
    excluded = [words[words.index("--exclude") + 1] for words in play.words]
    assert excluded == ["x9", "x9,n1", "x9,n1", "x9,n0"]
    assert list(progress.bad) == ["n1", "n0"]


def test_one_driver_alone_works_on_a_suite(begun, tmp_path):
    folder, made = begun()
    with locked(folder.path / DRIVER), pytest.raises(UsageError, match="is being run by another madrun"):
        drive(folder, made, Play(tmp_path))


def test_a_record_is_read_once_and_those_of_others_are_left(tmp_path):
    def write(name, tag):
        run = RunDir(tmp_path / "runs" / name)
        run.path.mkdir(parents=True)
        run.write_record(record(name, provenance={"case": tag} if tag else {}))

    write("before", "suite/a/1")
    records = Records(tmp_path)
    write("mine", "suite/a/1")
    write("other", "")
    (tmp_path / "runs/unfinished").mkdir()
    assert [one.card for one in records.of("suite/a/1")] == ["mine"]
    assert records.of("suite/a/1") == []
    assert [one.card for one in Records(tmp_path, known=False).of("suite/a/1")] == ["before", "mine"]


def test_a_suite_is_found_by_its_id_its_beginning_or_as_the_last_of_its_name(tmp_path):
    for number, name in enumerate(("x", "y", "x")):
        made = suite("a", results=str(tmp_path), name=name, id=f"2026112{number}-{name}")
        SuiteFolder(tmp_path / "suites" / made.id).write(made)
    assert find_suite(tmp_path, "last").path.name == "20261122-x"
    assert find_suite(tmp_path, "last", "y").path.name == "20261121-y"
    assert find_suite(tmp_path, "20261120").path.name == "20261120-x"
    with pytest.raises(UsageError, match="begins 3 suites"):
        find_suite(tmp_path, "2026")
    with pytest.raises(UsageError, match="found no suite 'z' below"):
        find_suite(tmp_path, "last", "z")
    with pytest.raises(UsageError, match="allowed: last, or the id of one: 20261121-y"):
        find_suite(tmp_path, "20261121-z")
    with pytest.raises(UsageError, match="found no suite; begin one"):
        find_suite(tmp_path / "none", "last")
