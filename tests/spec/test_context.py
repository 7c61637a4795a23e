"""What names and values of a context mean wherever they are read."""

from dataclasses import fields
from pathlib import Path

import pytest

from madrun.spec.context import Context, args_problem, is_secret


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "my_secret", "DB_PASSWORD", "AWS_ACCESS_KEY_ID", "PASSWD", "x_credential"]
)
def test_names_that_hold_secrets_are_known(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["NCCL_DEBUG", "PATH", "MASTER_ADDR", "OMP_NUM_THREADS", "TOKENIZERS_VERSION"])
def test_other_names_hold_none(name):
    assert not is_secret(name)


@pytest.mark.parametrize("args", ["", "--a 1", "--a 'b c'", "--a 1\n", "--a \\'", "--a $X"])
def test_args_of_one_line_with_closed_quotes_can_stand_in_bash(args):
    assert args_problem(args) == ""


@pytest.mark.parametrize("args", ["it's", '"', "a\nb", "a\r", "a\\", "a\0", "\nb", "\ud800"])
def test_other_args_cannot(args):
    assert args_problem(args).startswith("found ")


@pytest.mark.parametrize("name", [field.name for field in fields(Context)])
def test_every_key_stands_in_the_documentation(name):
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs/context.md").read_text()
