"""`--plan` through the command itself, where no engine is needed."""

import json
import re
import subprocess
import sys

import pytest

from madrun.cli.app import run
from madrun.spec.codec import sha256

pytestmark = pytest.mark.slow

RUN = ("run", "--runtime", "process", "--tags", "one")


@pytest.fixture
def ran(madrun, write_card, repository):
    """A finished run of a card with one file beside its script; its directory."""
    write_card(script="echo performance: $(cat number) tok\n")
    (repository / "models" / "one" / "number").write_text("5\n")
    assert madrun(*RUN).returncode == 0
    (made,) = (repository / "results" / "runs").iterdir()
    return made


def refused(madrun, *words, code=4):
    done = madrun("run", *words)
    assert done.returncode == code, done.stderr
    return done.stderr


def test_the_plan_that_a_repetition_prints_is_the_saved_one(madrun, ran):
    saved = json.loads((ran / "plan.json").read_text())
    for words in (("run", "--plan", ran.name, "--dry-run", "--json"), ("plan", "--plan", ran.name, "--json")):
        printed = json.loads(madrun(*words).stdout)
        assert (printed["job"], printed["job_hash"]) == (saved["job"], saved["job_hash"])
        text = json.dumps(printed["nodes"]).replace("{run_id}", ran.name).replace("{run_dir}", str(ran))
        assert without_ports(text) == without_ports(json.dumps(saved["nodes"]))


def without_ports(text):
    """A test beside this one may use the plan's port at this moment; then the next free one is taken."""
    return re.sub(r'(port"?:? )2\d{4}', r"\1PORT", re.sub(r'(PORT": ")2\d{4}', r"\1PORT", text))


def test_a_printed_plan_can_be_run_later(madrun, ran, repository):
    (repository / "p.json").write_text(madrun("plan", *RUN[1:], "--json").stdout)
    done = madrun("run", "--plan", "p.json")
    assert done.returncode == 0, done.stderr
    assert "nothing beside p.json says how this host was" in done.stderr


def test_an_edited_plan_is_refused_and_nothing_is_run(madrun, ran, repository):
    file = ran / "plan.json"
    file.write_text(file.read_text().replace('"timeout_s": 7200.0', '"timeout_s": 1.0'))
    assert "was edited: it says job hash" in refused(madrun, "--plan", ran.name)
    assert len(list((repository / "results" / "runs").iterdir())) == 1


def test_a_plan_of_a_newer_madrun_is_refused(madrun, ran):
    file = ran / "plan.json"
    data = json.loads(file.read_text()) | {"format": 2, "madrun": "9.9"}
    data["checksum"] = sha256({key: value for key, value in data.items() if key != "checksum"})
    file.write_text(json.dumps(data))
    text = refused(madrun, "--plan", ran.name)
    assert "made by madrun 9.9, this is madrun" in text
    assert "allowed: 1" in text


@pytest.mark.parametrize("change", ["content", "gone", "more", "mode"])
def test_a_file_that_is_not_as_it_was_is_refused(madrun, ran, repository, change):
    file = repository / "models" / "one" / "number"
    if change == "content":
        file.write_text("6\n")
    elif change == "gone":
        file.unlink()
    elif change == "more":
        file.with_name("other").touch()
    else:
        file.chmod(0o755)
    text = refused(madrun, "--plan", ran.name)
    assert "changed since: the card's files" in text
    assert "without --plan" in text


def test_a_cards_folder_that_has_gone_is_named(madrun, ran, repository):
    (repository / "models" / "one").rename(repository / "models" / "two")
    text = refused(madrun, "--plan", ran.name)
    assert "the card's files are not what they were" in text
    assert "models/one" in text


def test_changes_that_no_commit_holds_are_said(madrun, write_card, repository):
    write_card()
    committed(repository)
    write_card(script="echo performance: 6 tok\n")
    assert madrun(*RUN).returncode == 0
    (made,) = (repository / "results" / "runs").iterdir()
    write_card(script="echo performance: 7 tok\n")
    assert "it had changes then that no commit holds" in refused(madrun, "--plan", made.name)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A repository with one finished run, which no test changes."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "models" / "one").mkdir(parents=True)
    (folder / "models" / "one" / "model.yaml").write_text("name: one\nscript: run.sh\n")
    (folder / "models" / "one" / "run.sh").write_text("echo performance: 5 tok\n")
    (folder / "list.json").write_text("[]")
    subprocess.run([sys.executable, "-m", "madrun", *RUN], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("--plan", "none"), 2, "'none' is neither a file nor a directory nor the id of a run"),
        (("--plan", "models"), 2, "models holds no plan.json"),
        (("--plan", ""), 2, "--plan: found '', allowed: a run's id or directory, or a plan.json"),
        (("--plan", "models/one/run.sh"), 4, "models/one/run.sh is no JSON"),
        (
            ("--plan", "RUN", "-c", "{'multi_node_args': {'MASTER_PORT': 24000, 'CONTROL_PORT': 24000}}"),
            4,
            "which is MASTER_PORT",
        ),
        (("--plan", "list.json"), 4, "list.json holds no plan"),
        (("--plan", "RUN", "--timeout", "5"), 2, "--plan: found --timeout beside it"),
        (("--plan", "RUN", "-c", "{'grace': 1}"), 4, "found grace beside --plan"),
        (
            ("--plan", "RUN", "-c", "{'multi_node_args': {'NNODES': 2}}"),
            4,
            "found multi_node_args.NNODES beside --plan",
        ),
        (("--plan", "RUN", "-c", "{'multi_node_args': {'NODE_RANK': 1}}"), 4, "NODE_RANK: found 1"),
        (("--plan", "RUN", "-c", "{'multi_node_args': {'MASTER_ADDR': '192.0.2.1'}}"), 4, "not an address of this"),
    ],
)
def test_what_cannot_be_repeated_is_refused(shared, monkeypatch, capsys, words, code, part):
    monkeypatch.chdir(shared)
    (run_dir,) = (shared / "results" / "runs").iterdir()
    assert run(["run", *(run_dir.name if word == "RUN" else word for word in words)]) == code
    assert part in capsys.readouterr().err


def test_a_plan_that_was_cut_is_refused_as_an_edited_one(madrun, ran):
    file = ran / "plan.json"
    file.write_text(file.read_text()[:-20])
    assert "is no JSON" in refused(madrun, "--plan", ran.name, code=4)
    assert len(list(ran.parent.iterdir())) == 1


@pytest.fixture
def with_data(madrun, write_card, repository):
    """A finished run of a card with a data source; the run's directory."""
    write_card(yaml="data: [set]\n", script="ls $MAD_DATAHOME; echo performance: 5 tok\n")
    (repository / "set").mkdir()
    (repository / "set" / "a").write_text("1")
    (repository / "data.json").write_text(json.dumps({"set": {"local": {"path": "set"}}}))
    done = madrun(*RUN)
    assert done.returncode == 0, done.stderr
    (made,) = (repository / "results" / "runs").iterdir()
    return made


def test_data_that_has_changed_is_named_and_stands_in_the_record(madrun, with_data, repository):
    assert json.loads((with_data / "node-0" / "host.json").read_text())["data"]["set"].startswith("1 file, 1 bytes")
    assert "data set" not in madrun("run", "--plan", with_data.name).stderr
    (repository / "set" / "b").write_text("23")
    done = madrun("run", "--plan", with_data.name)
    assert done.returncode == 0, done.stderr
    assert re.search("changed since: data set 1 file, 1 bytes, newest .* -> 2 files, 3 bytes", done.stderr)
    last = max((repository / "results" / "runs").iterdir())
    notes = json.loads((last / "record.json").read_text())["notes"]
    assert [note for note in notes if note.startswith("changed since: data set")]


def test_data_that_has_gone_is_refused_before_a_run_directory_is_made(madrun, with_data, repository):
    (repository / "set").rename(repository / "moved")
    assert re.search("data set: .*/set does not exist on this host", refused(madrun, "--plan", with_data.name))
    assert len(list(with_data.parent.iterdir())) == 1


def committed(repository):
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(repository)]
    for words in (["init", "-q"], ["add", "models"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)


def test_the_advice_shows_new_files_and_brings_back_one_folder_alone(madrun, write_card, repository):
    write_card()
    committed(repository)
    assert madrun(*RUN).returncode == 0
    (made,) = (repository / "results" / "runs").iterdir()
    folder = repository / "models" / "one"
    (folder / "new").touch()
    text = " ".join(refused(madrun, "--plan", made.name).split())
    assert f"status --short -- {folder}" in text
    assert re.search(f"checkout [0-9a-f]{{12}} -- {re.escape(str(folder))}", text)


def test_commands_are_explained_where_they_hold_placeholders(madrun, ran):
    stderr = madrun("run", "--plan", ran.name, "-v").stderr
    assert "{run_id} and {run_dir} stand for the id and directory" in stderr


@pytest.mark.parametrize("record", ["{", "[]", '{"nodes": 1, "provenance": []}', '{"nodes": [1, {"node": 0}]}'])
def test_a_record_that_cannot_be_read_keeps_no_plan_from_being_repeated(madrun, ran, record):
    (ran / "record.json").write_text(record)
    (ran / "node-0" / "host.json").write_text("[]")
    (ran / "node-0" / "context.json").write_text("[{}]")
    done = madrun("run", "--plan", ran.name)
    assert done.returncode == 0, done.stderr


def test_a_repetition_is_explained_as_its_first_run(madrun, ran, repository):
    assert madrun("run", "--plan", ran.name).returncode == 0
    second = max((repository / "results" / "runs").iterdir())
    assert (second / "node-0" / "context.json").read_text() == (ran / "node-0" / "context.json").read_text()
