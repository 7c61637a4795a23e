"""What `madrun suite` and `madrun run --sweep` make of their words, without running anything."""

import json

import pytest
import yaml
from suite_parts import suite

from madrun.cli.app import run
from madrun.cli.suiteplace import has_others, place_of
from madrun.locks import locked
from madrun.suites.folder import DRIVER, SuiteFolder
from madrun.suites.suite import Case

pytestmark = pytest.mark.slow  # real processes or commands in most of them

SUITE = """name: trial
cases:
- tags: hello
  sweep: {nnodes: [1, 2], model_args: ["--bs 1", "--bs '2'"]}
- {name: twice, tags: hello, repeat: 2, timeout: 90s, args: --x, env: [SAID]}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A repository with one card, as the current directory."""
    card = tmp_path / "models/hello"
    card.mkdir(parents=True)
    (card / "model.yaml").write_text(yaml.safe_dump({"name": "hello", "script": "run.sh"}))
    (card / "run.sh").write_text("true\n")
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "madrun-site.yaml").write_text("runtime: process\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAID", "yes")
    for name in ("MODEL_DIR", "SLURM_JOB_NUM_NODES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def dry(here, capsys):
    """The commands of the cases that these words mean, by name; or what was said instead."""

    def of(*words):
        code = run([*words, "--dry-run", "--json"])
        out, err = capsys.readouterr()
        if code:
            return code, err
        return {case["name"]: case["command"] for case in json.loads(out)["cases"]}

    return of


def test_a_case_is_one_madrun_run_with_words_of_its_own(dry):
    found = dry("suite", "suite.yaml")
    assert found["twice"] == [
        *("madrun", "run", "--tags", "hello", "--env", "SAID", "--arg", "--x", "--timeout", "90s", "--repeat", "2")
    ]
    assert found["hello nnodes=2 model_args=--bs '2'"] == [
        *("madrun", "run", "--tags", "hello", "--set", "model_args=--bs '2'", "--set", "multi_node_args.NNODES=2")
    ]
    assert len(found) == 5


def test_words_of_the_command_are_those_of_every_case(dry):
    found = dry("suite", "suite.yaml", "--runtime", "process", "--set", "grace=3", "--results", "other", "--pull")
    assert all(words[-1] == "--pull" or "--pull" in words for words in found.values())
    assert all("--runtime" in words and "grace=3" in words and "other" in words for words in found.values())
    first = next(iter(found.values()))
    assert first.index("grace=3") < first.index("model_args=--bs 1")


def test_on_hosts_each_case_gets_the_first_ones(dry):
    found = dry("suite", "suite.yaml", "--on", "ssh", "--hosts", "n[1-3]")
    assert found["hello nnodes=1 model_args=--bs 1"][-6:] == ["--on", "ssh", "--hosts", "n1", "--nodes", "1"]
    assert found["hello nnodes=2 model_args=--bs 1"][-6:] == ["--on", "ssh", "--hosts", "n1,n2", "--nodes", "2"]
    assert found["twice"][-6:] == ["--on", "ssh", "--hosts", "n1,n2,n3", "--nodes", "3"]


def test_a_sweep_is_a_case_for_each_combination(dry):
    found = dry("run", "--tags", "hello", "--sweep", "nnodes=1,2", "--sweep", "model_args=--bs 1,--bs 2")
    assert list(found) == [f"hello nnodes={nodes} model_args=--bs {size}" for nodes in (1, 2) for size in (1, 2)]
    assert dry("run", "--tags", "hello", "--sweep", "grace=1,2", "--repeat", "3")["hello grace=2"][-2:] == [
        "--repeat",
        "3",
    ]


def test_a_sweep_may_be_an_array_too(dry):
    asked = ("run", "--tags", "hello", "--on", "slurm", "--array", "--sweep")
    assert [words[-2:] for words in dry(*asked, "grace=1,2").values()] == [["--on", "slurm"]] * 2
    assert "--array: found cases of 1, 2 nodes" in dry(*asked, "nnodes=1,2")[1]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("suite",), 2, "found no suite file; allowed: a suite file, or --resume"),
        (("suite", "none.yaml"), 2, "none.yaml does not exist"),
        (("suite", "suite.yaml", "--resume"), 2, "found no suite; begin one"),
        (
            ("suite", "suite.yaml", "--rerun", "fail"),
            2,
            "found 'fail' (did you mean 'failed'?), allowed: failed, invalid",
        ),
        (("suite", "--status", "--resume"), 2, "--status: found --resume or --rerun beside it"),
        (("suite", "suite.yaml", "--partition", "x"), 2, "found --partition without --on"),
        (("suite", "suite.yaml", "--on", "slrum"), 2, "found 'slrum' (did you mean 'slurm'?)"),
        (("suite", "suite.yaml", "--on", "compose"), 2, "--on: found 'compose', allowed: ssh, slurm, kubernetes"),
        (("suite", "suite.yaml", "--on", "ssh", "--hosts", "a", "--detach"), 2, "--detach: found beside a suite"),
        (("suite", "suite.yaml", "--on", "ssh", "--hosts", "a"), 4, "--hosts (ssh.hosts): found 1 hosts for 2 nodes"),
        (("suite", "suite.yaml", "--on", "ssh"), 4, "--on ssh: found no hosts"),
        (("suite", "suite.yaml", "-e", "MY_TOKEN=abc"), 2, "found a value of MY_TOKEN, and a suite is written down"),
        (("suite", "suite.yaml", "-c", "{'docker_env_vars': {'A_KEY': 'abc'}}"), 2, "found a value of A_KEY"),
        (("suite", "suite.yaml", "--set", "docker_env_vars.A_KEY=abc"), 2, "found a value of A_KEY"),
        (("suite", "suite.yaml", "--set", "env_vars={A_KEY: abc}"), 2, "found a value of A_KEY"),
        (("run", "--tags", "hello", "--sweep", "docker_env_vars.A_KEY=a,b"), 2, "found a value of A_KEY"),
        (("run", "--tags", "hello", "--sweep", "env_vars=[{A_KEY: a}]"), 2, "found a value of A_KEY"),
        (
            ("run", "--tags", "hello", "--sweep", "timeout=1,x"),
            4,
            "--sweep: hello timeout=x (case 2 of 2): --set: timeout: found 'x'",
        ),
        (("run", "--tags", "helo", "--sweep", "timeout=1,2"), 2, "'helo'"),
        (("run", "--sweep", "timeout=1,2"), 2, "found no tags"),
        (("run", "--tags", "hello", "--sweep", "timeout=1,2", "--keep-alive"), 2, "--keep-alive: found beside --sweep"),
        (("run", "--tags", "hello", "--array"), 2, "--array: found without --sweep; allowed: with --sweep KEY=VALUES"),
        (("run", "--tags", "hello", "--sweep", "grace=1,2", "--array"), 2, "--array: found without --on slurm"),
        (("run", "--tags", "hello", "--sweep", "timeouts=1,2"), 4, "unknown key timeouts (did you mean 'timeout'?)"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_runs(dry, here, words, code, told):
    assert dry(*words)[0] == code
    said = dry(*words)[1]
    assert told in said
    assert "abc" not in said
    assert not (here / "results").exists()


def test_a_wrong_case_is_told_with_its_line(dry, here):
    (here / "suite.yaml").write_text("cases:\n- tags: hello\n- {tags: hello, timeout: soon}\n")
    assert "suite.yaml:3: cases.1: hello #2 (case 2 of 2): --timeout: found 'soon'" in dry("suite", "suite.yaml")[1]
    (here / "suite.yaml").write_text("cases:\n- tags: hello\n- tags: helo\n")
    assert "suite.yaml:3: cases.1: helo (case 2 of 2): " in dry("suite", "suite.yaml")[1]
    (here / "suite.yaml").write_text("cases:\n- {tags: hello, env: [NOT_SET]}\n")
    assert "env: NOT_SET is not set on this host" in dry("suite", "suite.yaml")[1]
    for key in ("context", "sweep"):
        value = "abc" if key == "context" else "[abc]"
        (here / "suite.yaml").write_text(f"cases:\n- {{tags: hello, {key}: {{docker_env_vars.A_KEY: {value}}}}}\n")
        assert "suite.yaml:2: cases.0: hello" in dry("suite", "suite.yaml")[1]
        assert "found a value of A_KEY" in dry("suite", "suite.yaml")[1]


WRONG = """cases:
- {tags: hello, context: {timeouts: 1}}
- {tags: hello, sweep: {nnodes: [1, 2, 9]}}
- {tags: hello, context: {runner: torchrum}}
- {name: good, tags: hello, context: {grace: 2}}
- {name: other, tags: hello, context: {runner: torchrum}}
- {tags: helo}
- {name: key, tags: hello, context: {slurm: {tme: 3}, ssh: {optionz: []}}}
- {name: image, tags: built}
"""
RUNNER = "multi_node_args.RUNNER: found 'torchrum' (did you mean 'torchrun'?), allowed: "


@pytest.fixture
def faults(here, dry):
    """The lines that are told of a suite with these words; nothing may have been written."""
    card = here / "models/built"
    card.mkdir()
    (card / "model.yaml").write_text("name: built\nscript: run.sh\nimages: {cpu: {dockerfile: Dockerfile}}\n")
    for name in ("run.sh", "Dockerfile"):
        (card / name).write_text("FROM scratch\n")
    (here / "suite.yaml").write_text(WRONG)

    def of(*words):
        code, said = dry("suite", "suite.yaml", *words)
        assert not (here / "results").exists()
        return code, said.splitlines()

    return of


def test_all_faults_of_all_cases_are_told_at_once_each_with_the_cases_that_have_it(faults):
    code, lines = faults()
    assert (code, lines[0]) == (2, "madrun: error: found 3 faults, and no case was begun:")
    assert lines[1].startswith("suite.yaml:2: cases.0.context.timeouts: unknown key timeouts (did you mean 'timeout'?)")
    assert lines[2].startswith(f"suite.yaml:4: cases.2: hello (case 4 of 9, and the same in 6): {RUNNER}")
    assert lines[3].startswith("suite.yaml:7: cases.5: helo (case 7 of 9): ")
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (
            ("--on", "ssh", "--hosts", "n[1-8]"),
            ["cases.1: hello nnodes=9 (case 3 of 9): --hosts (ssh.hosts): found 8 hosts for 9 nodes", "ssh.optionz: "],
        ),
        (("--on", "slurm"), ["cases.6: key (case 8 of 9): slurm.tme: unknown key (did you mean 'time'?)"]),
        (
            ("--on", "kubernetes", "--set", "kubernetes.image=i:1", "--set", "kubernetes.gpus=x"),
            ["(case 1 of 9, and the same in 2, 3, 5, 8, 9): kubernetes.gpus: "],
        ),
        (
            ("--on", "kubernetes", "--set", "kubernetes.vendor=cpu"),
            ["cases.7: image (case 9 of 9): kubernetes.image: is missing, and built names no ready image"],
        ),
    ],
)
def test_what_a_backend_will_refuse_is_told_before_the_first_case(faults, words, found):
    code, lines = faults(*words)
    assert code == 2
    assert all(any(text in line for line in lines) for text in (*found, RUNNER, "cases.0.context.timeouts")), lines


def test_a_port_that_no_launch_can_have_is_the_fault_of_its_own_case(here, dry):
    wrong = "{tags: hello, context: {multi_node_args.MASTER_PORT: 65535}}"
    for cases, found in ((f"{wrong}, {{tags: hello}}", "1 of 2): "), (f"{{tags: hello}}, {wrong}", "2 of 2): ")):
        (here / "suite.yaml").write_text(f"cases: [{cases}]")
        code, said = dry("suite", "suite.yaml", "--on", "ssh", "--hosts", "a,b")
        assert (code, f"(case {found}multi_node_args.MASTER_PORT: found 65535" in said) == (4, True), said


def test_in_an_allocation_a_case_of_more_nodes_than_it_has_is_told_with_all_others(faults, monkeypatch):
    for name, value in {"JOB_ID": "7", "JOB_NODELIST": "n[1-4]", "JOB_NUM_NODES": "4"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    lines = faults("--on", "slurm")[1]
    assert any("hello nnodes=9 (case 3 of 9): slurm.nodes: found 9 inside job 7" in line for line in lines), lines


def test_what_the_layers_below_say_of_the_number_of_nodes_is_that_of_each_case(dry, here):
    (here / "suite.yaml").write_text("cases: [{tags: hello}, {tags: hello, nnodes: 3}]")
    found = dry("suite", "suite.yaml", "--on", "slurm", "--set", "slurm.nodes=2")
    assert "slurm.nodes: found 2, but 3 nodes were asked for" in found[1]
    (here / "suite.yaml").write_text("cases: [{tags: hello}]")
    inline = ("-c", "{'multi_node_args': {'NNODES': '2'}}")
    assert dry("suite", "suite.yaml", *inline, "--on", "ssh", "--hosts", "a,b,c")["hello"][-1] == "2"


def test_cases_that_share_a_job_and_ask_for_different_ones_leave_nothing_behind(dry, here):
    (here / "suite.yaml").write_text(
        "cases: [{tags: hello, context: {slurm.time: 2h}}, {tags: hello, nnodes: 2, context: {slurm.time: 3h}}]"
    )
    code, said = dry("suite", "suite.yaml", "--on", "slurm")
    assert (code, "found slurm.time=2h in 'hello' and not in all cases, which share one job" in said) == (2, True), said
    assert "--array: found cases of 1, 2 nodes" in dry("suite", "suite.yaml", "--on", "slurm", "--array")[1]
    assert not (here / "results").exists()


def test_cases_that_differ_in_what_no_plan_fails_for_are_planned_once(here, dry, monkeypatch):
    from madrun.cli import suiteplans

    planned = []
    real = suiteplans.plan_case
    monkeypatch.setattr(suiteplans, "plan_case", lambda *a, **more: planned.append(1) or real(*a, **more))
    sweeps = "model_args: [a, b, c], timeout: [1m, 2m], docker_env_vars.NCCL_DEBUG: [INFO, WARN], nnodes: [1, 2]"
    (here / "suite.yaml").write_text(f"cases: [{{tags: hello, sweep: {{{sweeps}}}}}]")
    assert len(dry("suite", "suite.yaml")) == 24
    assert len(planned) == 2


def test_cases_of_one_kind_are_read_and_rendered_once_by_their_backend(here, dry, monkeypatch):
    from madrun.cli import suitesettings

    made = []
    real = suitesettings.make_launch
    monkeypatch.setattr(suitesettings, "make_launch", lambda asked: made.append("launch") or real(asked))
    read = suitesettings.read_settings
    monkeypatch.setattr(suitesettings, "read_settings", lambda *of: made.append("settings") or read(*of))
    sweeps = "model_args: [a, b, c], nnodes: [1, 2]"
    (here / "suite.yaml").write_text(f"cases: [{{tags: hello, sweep: {{{sweeps}}}}}]")
    assert len(dry("suite", "suite.yaml", "--on", "kubernetes", "--set", "kubernetes.image=i:1")) == 6
    assert sorted(made) == ["launch", "settings", "settings"]


def test_status_shows_a_suite_that_was_begun_and_resume_takes_its_new_cases(dry, here, capsys):
    made = suite("hello", results=str(here / "results"), id="20261121T000000Z-trial-1", name="suite")
    SuiteFolder(here / "results/suites" / made.id).write(made)
    assert run(["suite", "--status"]) == 3
    assert "hello  1      pending" in capsys.readouterr().out
    (here / "suite.yaml").write_text("cases: [{tags: hello}, {tags: hello, name: new}]")
    assert list(dry("suite", "suite.yaml", "--resume")) == ["hello", "new"]
    (here / "suite.yaml").write_text("cases: [{tags: hello, repeat: 2}]")
    assert "hello: was --tags hello" in dry("suite", "suite.yaml", "--resume")[1]
    assert "found no case of 20261121T000000Z-trial-1 that is failed" in dry("suite", "last", "--rerun", "failed")[1]


def test_status_says_how_to_go_on_where_nobody_runs_the_suite_any_more(here, capsys):
    made = suite("done", "cut", "next", results=str(here / "results"), id="20261121T000000Z-trial-1")
    folder = SuiteFolder(here / "results/suites" / made.id)
    folder.write(made)
    begun = {"number": 1, "status": "running", "at": 1.0, "nnodes": 1}
    journal = [
        {"event": "running", "case": "done", "attempt": begun},
        {"event": "ended", "case": "done", "attempt": begun | {"status": "success"}},
        {"event": "running", "case": "cut", "attempt": begun},
    ]
    (folder.path / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in journal))
    with locked(folder.path / DRIVER):
        assert run(["suite", "--status"]) == 3
        assert capsys.readouterr().err == ""
    assert run(["suite", "--status"]) == 3
    out, err = capsys.readouterr()
    assert "1 pending, 1 running, 1 success" in out
    assert err == (f"madrun: nobody runs this suite now, and 2 of 3 cases are left: madrun suite {made.id} --resume\n")


def test_the_account_ends_with_what_is_wrong_where_the_files_are_and_what_to_type(here, capsys):
    made = suite("well", "bad", results=str(here / "results"), id="20261121T000000Z-trial-1")
    folder = SuiteFolder(here / "results/suites" / made.id)
    folder.write(made)
    ended = {"number": 1, "status": "failed", "at": 1.0, "nnodes": 1, "reason": "script error: exit code 5"}
    ended |= {"runs": [{"run_id": "r1", "card": "bad", "status": "FAILURE", "nnodes": 1, "seconds": 2.0}]}
    journal = [
        {"event": "ended", "case": "well", "attempt": ended | {"status": "success", "runs": [], "reason": ""}},
        {"event": "ended", "case": "bad", "attempt": ended},
    ]
    (folder.path / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in journal))
    assert run(["suite", "--status"]) == 3
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "failed: bad",
        "  script error: exit code 5",
        "  results/runs/r1",
        f"files: results/suites/{made.id}; the runs are in results/runs",
        f"again: madrun suite {made.id} --rerun failed",
    ]


def test_a_scheduler_is_told_which_nodes_to_leave_out_and_others_are_not():
    case = Case(name="a", words=(), nnodes=2)
    made = suite("a", backend="slurm", launch={"partition": "x"})
    assert place_of(made, case, {}, None).words == ("--on", "slurm", "--partition", "x", "--nodes", "2")
    assert place_of(made, case, {"n1": ""}, None).words[-2:] == ("--exclude", "n1")
    assert has_others(made, case, {"n1": ""}, 3)
    assert not has_others(made, case, {"n1": ""}, 2)
    pods = suite("a", backend="kubernetes")
    assert place_of(pods, case, {"n1": ""}, None).words == ("--on", "kubernetes", "--nodes", "2")
    assert not has_others(pods, case, {"n1": ""}, None)
    assert place_of(suite("a"), Case(name="a", words=()), {}, None).words == ()
