"""Pre- and post-scripts: where they are found, by which name they stand beside the script, what belongs to the run."""

import pytest

from madrun.errors import ContextError
from madrun.registry.mad.steps import around_of, find, used_of_common
from madrun.registry.mad.tools import SHIPPED, Stack
from madrun.spec.mad import Step


@pytest.fixture
def repo(tmp_path):
    for name in ("scripts/one/pre.sh", "scripts/two/pre.sh", "tools/x.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_each_step_gets_a_copy_beside_the_script_and_none_replaces_another(repo):
    stack = Stack(pre=(Step(path="scripts/one/pre.sh", args="a b"), Step(path="scripts/two/pre.sh")))
    own = {"run_directory/run.sh": repo / "tools/x.sh"}
    around, placed = around_of(stack, repo, "run_directory", own)
    assert [(step.name, step.args) for step in around.pre] == [("pre.sh", "a b"), ("2-pre.sh", "")]
    assert placed["run_directory/2-pre.sh"] == repo / "scripts/two/pre.sh"


def test_one_script_that_runs_before_and_after_stands_there_once(repo):
    step = Step(path="scripts/one/pre.sh")
    around, placed = around_of(Stack(pre=(step,), post=(step,)), repo, "d", {})
    assert (around.pre[0].name, around.post[0].name, list(placed)) == ("pre.sh", "pre.sh", ["d/pre.sh"])


def test_a_step_does_not_replace_a_file_of_the_card(repo):
    own = {"d/pre.sh": repo / "scripts/two/pre.sh"}
    around, _ = around_of(Stack(pre=(Step(path="scripts/one/pre.sh"),)), repo, "d", own)
    assert around.pre[0].name == "2-pre.sh"


def test_a_script_that_is_nowhere_is_an_error_that_names_it(repo):
    with pytest.raises(ContextError, match="post_scripts: 'scripts/none.sh' is no file of"):
        around_of(Stack(post=(Step(path="scripts/none.sh"),)), repo, "d", {})


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "scripts/../../outside"])
def test_a_path_that_leads_out_of_the_repository_is_none_of_its_files(repo, path):
    assert find(path, repo) is None


def test_madruns_own_scripts_are_found_where_the_repository_has_none_of_that_name(repo):
    assert find("scripts/common/test_echo.sh", repo) == SHIPPED / "test_echo.sh"
    own = repo / "scripts/common/pre_scripts"
    own.mkdir(parents=True)
    assert find("scripts/common/pre_scripts/echo.sh", repo) is None
    (own / "echo.sh").write_text("own")
    assert find("scripts/common/pre_scripts/echo.sh", repo) == own / "echo.sh"


def test_a_tool_that_a_command_names_is_a_file_of_the_run(repo):
    stack = Stack(front="bash ../scripts/common/test_echo.sh && bash '../scripts/common/tools/resources.sh' ")
    _, placed = around_of(stack, repo, "d", {})
    assert placed == {
        "scripts/common/test_echo.sh": SHIPPED / "test_echo.sh",
        "scripts/common/tools/resources.sh": SHIPPED / "tools/resources.sh",
    }


def test_what_a_script_names_of_common_is_found_and_what_that_names_in_turn(repo):
    common = repo / "scripts/common"
    (common / "tools").mkdir(parents=True)
    texts = {"a.sh": ". ../scripts/common/tools/b.sh", "tools/b.sh": "cat 'scripts/common/c.txt' scripts/common/a.sh"}
    for name, text in {**texts, "c.txt": "c", "other.sh": "x", "said.txt": "s"}.items():
        (common / name).write_text(text)
    script = repo / "scripts/one/run.sh"
    script.write_text('bash "$ROOT/scripts/common/a.sh"')
    found = used_of_common({"d/run.sh": script}, ("--c=../scripts/common/said.txt",), repo)
    assert list(found) == [f"scripts/common/{name}" for name in ("a.sh", "c.txt", "said.txt", "tools/b.sh")]
    assert used_of_common({"d/x.sh": repo / "tools/x.sh"}, ("",), repo) == {}
