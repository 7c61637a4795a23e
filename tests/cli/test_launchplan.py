"""A saved plan that is to run on other hosts: looked at here, and made to fit the place to which it was brought."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from madrun.cli.launchplan import check_plan
from madrun.errors import ContextError
from madrun.registry.cardtree import tree_hash, work_files
from madrun.spec.codec import to_json
from madrun.spec.plan import make_plan, sealed


@pytest.fixture
def save(write_card, repository, make_job, make_node, tmp_path):
    """Writes the plan of card `one`, whose repository was at `place`; its file."""
    write_card()
    files = work_files(repository / "models/one", (), repository)

    def written(place, **job):
        node = make_node(repository=str(place), card_folder=f"{place}/models/one")
        env = node.process.env | {"MADRUN_RUN_ID": "{run_id}"}
        node = replace(node, process=replace(node.process, env=env))
        plan = make_plan("0.1", make_job(script_hash=tree_hash(files), **job), node)
        file = tmp_path / "plan.json"
        file.write_text(to_json(sealed(plan)))
        return file

    return written


def test_a_plan_of_this_repository_or_of_a_copy_that_has_gone_fits_what_is_here(save, repository):
    for place in (repository, "/var/madrun/launches/then/repository/repo"):
        assert check_plan(save(place), repository).job.card == "one"


def test_files_that_are_others_by_now_are_refused_before_anything_is_started(save, repository):
    file = save("/gone/repository")
    (repository / "models/one/run.sh").write_text("echo performance: 6 tok\n")
    with pytest.raises(ContextError, match="--plan: changed since: the card's files, [0-9a-f]{12} -> [0-9a-f]{12}; or"):
        check_plan(file, repository)
    shutil.rmtree(repository / "models/one")
    with pytest.raises(ContextError, match=f"--plan: {repository} is not what the plan was made from: .*models/one"):
        check_plan(file, repository)


def test_what_is_to_bring_files_back_names_their_commit(save, repository):
    git = ["git", "-C", str(repository), "-c", "user.name=u", "-c", "user.email=e@x"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    file = save(repository)
    provenance = {"repository_commit": commit, "repository_dirty": "false"}
    file.with_name("record.json").write_text(json.dumps({"provenance": provenance}))
    (repository / "models/one/run.sh").write_text("echo performance: 6 tok\n")
    with pytest.raises(ContextError, match=rf"git -C \S+ checkout {commit[:12]} -- {repository}/models/one brings"):
        check_plan(file, repository)


def test_an_edited_plan_is_refused_here(save, repository):
    file = save(repository)
    file.write_text(file.read_text().replace('"smoke"', '"smokes"'))
    with pytest.raises(ContextError, match="was edited"):
        check_plan(file, repository)


def test_a_plan_of_another_repository_that_is_there_is_left_to_the_nodes(save, repository, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    file = save(other)
    (repository / "models/one/run.sh").write_text("echo performance: 6 tok\n")
    assert check_plan(file, repository).node.repository == str(other)


@pytest.mark.slow
def test_on_a_node_of_a_launch_the_plan_runs_from_the_copy_of_its_repository(madrun, write_card, repository, tmp_path):
    write_card()
    assert madrun("run", "--runtime", "process", "--tags", "one").returncode == 0
    (run,) = (repository / "results/runs").iterdir()
    copy = tmp_path / "there/repository"
    shutil.copytree(repository / "models", copy / "models")
    plan = shutil.move(run / "plan.json", tmp_path / "plan.json")
    words = ("run", "--plan", str(plan), "--results", str(tmp_path / "there/results"))
    launched = {"MADRUN_LAUNCH": "ssh:x", "MADRUN_NNODES": "1", "MADRUN_NODE_RANK": "0"}
    for gone, more in ((False, {"MADRUN_REPOSITORY": str(copy)}), (True, {})):
        if gone:
            shutil.rmtree(repository / "models")
            repository.rename(tmp_path / "away")
        done = madrun(*words, cwd=copy, **launched, **more)
        assert done.returncode == 0, done.stderr
    again = [json.loads(file.read_text()) for file in sorted(Path(tmp_path).glob("there/results/runs/*/plan.json"))]
    assert [one["nodes"][0]["card_folder"] for one in again] == [f"{copy}/models/one"] * 2
    assert len({one["job_hash"] for one in again} | {json.loads(Path(plan).read_text())["job_hash"]}) == 1
    (copy / "models/one/run.sh").write_text("echo performance: 6 tok\n")
    done = madrun(*words, cwd=copy, **launched)
    assert (done.returncode, "--plan: changed since: the card's files" in done.stderr) == (4, True)
    away = madrun(*words, cwd=copy)  # nobody has brought it there: a plan is repeated where it was made
    assert (away.returncode, "cannot be read" in away.stderr) == (4, True)
