"""What the driver reports, read as it grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.steps import Step, Steps, exit_code, parse_step


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("1795234616.49 exit 3", Step(1795234616.49, "exit", "3")),
        ("1795234616,49 ready", Step(1795234616.49, "ready")),
        ("0 driver 5.2.15(1)-release", Step(0.0, "driver", "5.2.15(1)-release")),
        ("x say a b  c", Step(0.0, "say", "a b  c")),
        ("", Step(0.0, "", "")),
    ],
)
def test_a_line_is_time_step_and_value(line, step):
    assert parse_step(line) == step


@given(st.text(max_size=30))
def test_any_line_is_a_step_and_any_step_an_exit_code_or_none(line):
    step = parse_step(line)
    assert isinstance(step.at, float)
    code = exit_code({"exit": step})
    assert code is None or code >= 0


@pytest.mark.parametrize("value", ["²", "", "-1", "x", "1 2"])
def test_a_value_that_is_no_number_is_no_exit_code(value):
    assert exit_code({"exit": Step(0.0, "exit", value)}) is None


def test_the_scripts_own_word_counts_before_the_drivers():
    steps = {"exit": Step(0, "exit", "3"), "gone": Step(0, "gone", "137")}
    assert exit_code(steps) == 3
    assert exit_code({"gone": steps["gone"]}) == 137
    assert exit_code({}) is None


@given(
    st.lists(st.sampled_from(["ready", "begin", "exit 3", "exit 4", "end 0", "ünï"]), max_size=6),
    st.lists(st.integers(0, 100), max_size=6),
)
def test_lines_that_are_cut_anywhere_are_read_whole(tmp_path_factory, words, cuts):
    text = "".join(f"{index}.5 {word}\n" for index, word in enumerate(words)).encode()
    file = tmp_path_factory.mktemp("steps") / "steps"
    file.touch()
    steps = Steps(file)
    ends = sorted({cut % (len(text) + 1) for cut in cuts} | {len(text)})
    for start, end in zip([0, *ends], ends, strict=False):
        with file.open("ab") as target:
            target.write(text[start:end])
        steps.read()
    steps.close()
    expected = {}
    for index, word in enumerate(words):
        name, _, value = word.partition(" ")
        expected.setdefault(name, Step(index + 0.5, name, value))
    assert steps.seen == expected


def test_a_line_that_is_still_being_written_waits(tmp_path):
    file = tmp_path / "steps"
    file.write_text("1 exit 1")
    steps = Steps(file)
    assert steps.read() == {}
    with file.open("a") as target:
        target.write("2\n")
    assert exit_code(steps.read()) == 12
    steps.close()
