"""tools.json: which file counts, how tools stack, what is refused."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import ContextError
from madrun.registry.mad.tools import SHIPPED, Stack, stacked, tools_file
from madrun.spec.mad import Step, Tool

BASE = Stack(pre=(Step(path="p"),), post=(Step(path="q"),), front="mine ")


@pytest.fixture
def write(tmp_path):
    def written(tools):
        file = tmp_path / "tools.json"
        file.write_text(tools if isinstance(tools, str) else json.dumps({"tools": tools}))
        return file

    return written


def test_pre_scripts_are_put_before_post_scripts_after_and_the_last_tool_is_the_outermost(write):
    file = write(
        {
            "one": {"pre_scripts": [{"path": "a", "args": "1"}], "cmd": "first", "post_scripts": [{"path": "b"}]},
            "two": {"pre_scripts": [{"path": "c"}], "cmd": "second &&", "env_vars": {"X": 1}},
        }
    )
    stack = stacked(BASE, (Tool(name="one"), Tool(name="two")), file)
    assert [step.path for step in stack.pre] == ["c", "a", "p"]
    assert [step.path for step in stack.post] == ["q", "b"]
    assert stack.front == "second && first mine "
    assert (stack.env, stack.origins) == ({"X": "1"}, {"X": "tool two"})


def test_a_command_that_is_there_already_is_not_put_there_again(write):
    file = write({"one": {"cmd": "trace"}, "two": {"cmd": "trace "}})
    assert stacked(Stack(), (Tool(name="one"), Tool(name="two"), Tool(name="one")), file).front == "trace "


def test_the_context_replaces_what_a_tool_says(write):
    file = write({"one": {"cmd": "old", "env_vars": {"A": "1", "B": "2"}, "pre_scripts": [{"path": "a"}]}})
    asked = Tool(name="one", cmd="new -x", env_vars={"A": "9"}, pre_scripts=())
    stack = stacked(Stack(), (asked,), file)
    assert (stack.front, stack.env, stack.pre) == ("new -x ", {"A": "9", "B": "2"}, ())


def test_an_unknown_tool_is_refused_with_the_nearest_and_all_names(write):
    file = write({"rocprof": {}, "strace": {}})
    with pytest.raises(ContextError, match=r"tools: found 'rocporf' \(did you mean 'rocprof'\?\).*rocprof, strace"):
        stacked(Stack(), (Tool(name="rocporf"),), file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"tools": {', "tools.json:1:12: not JSON"),
        ('{"tool": {}}', "allowed:"),
        ('{"tools": {"one": {"cmd": ["a"]}}}', "one: cmd"),
        ('{"tools": {"one": []}}', "one"),
        ('{"tools": {"one": {"env_vars": {"NNODES": "2"}}}}', "env_vars.NNODES"),
    ],
)
def test_a_broken_file_is_an_error_that_says_where(write, text, words):
    with pytest.raises(ContextError, match=words):
        stacked(Stack(), (Tool(name="one"),), write(text))


def test_an_unknown_field_of_a_tool_is_a_warning(write):
    stack = stacked(Stack(), (Tool(name="one"),), write({"one": {"cmds": "x"}}))
    assert "one: cmds has no effect (did you mean 'cmd'?)" in stack.warnings[0]


def test_the_given_file_counts_before_the_repositorys_own_and_that_before_madruns(tmp_path):
    assert tools_file(tmp_path, None) == SHIPPED / "tools.json"
    own = tmp_path / "scripts/common/tools.json"
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    assert tools_file(tmp_path, None) == own
    given = tmp_path / "other.json"
    given.write_text("{}")
    assert tools_file(tmp_path, str(given)) == given
    with pytest.raises(ContextError, match="--tools-config: nowhere is not a file"):
        tools_file(tmp_path, "nowhere")


def test_every_tool_that_ships_is_whole():
    names = json.loads((SHIPPED / "tools.json").read_text())["tools"]
    stack = stacked(Stack(), tuple(Tool(name=name) for name in names), SHIPPED / "tools.json")
    assert stack.warnings == ()
    for step in (*stack.pre, *stack.post):
        assert (SHIPPED / step.path.removeprefix("scripts/common/")).is_file()


def test_every_script_that_ships_is_bash_that_bash_can_read():
    scripts = sorted(SHIPPED.rglob("*.sh"))
    assert len(scripts) >= 4
    for script in scripts:
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
        assert script.stat().st_mode & 0o111, script


def test_the_tool_that_times_a_command_keeps_its_exit_code_and_writes_a_row(tmp_path):
    (tmp_path / "run").mkdir()
    script = SHIPPED / "tools/resources.sh"
    done = subprocess.run(["bash", str(script), "bash", "-c", "echo out; exit 3"], cwd=tmp_path / "run", check=False)
    assert done.returncode == 3
    head, row = (tmp_path / "resources.csv").read_text().splitlines()
    assert head.split(",") == ["real_s", "user_s", "system_s"]
    assert len([float(value) for value in row.split(",")]) == 3


@given(st.lists(st.text("abc", min_size=1, max_size=2), max_size=5))
def test_every_command_stands_once_and_the_last_new_one_is_first(tmp_path_factory, commands):
    file = Path(tmp_path_factory.getbasetemp()) / "any.json"
    file.write_text(json.dumps({"tools": {f"t{n}": {"cmd": text} for n, text in enumerate(commands)}}))
    stack = stacked(Stack(), tuple(Tool(name=f"t{n}") for n in range(len(commands))), file)
    assert stack.front.split() == list(reversed(list(dict.fromkeys(commands))))
