"""The exit codes are a contract: existing tooling reads 0 to 4."""

import pytest

from madrun import errors


def test_exit_codes_are_frozen():
    assert {code.name: int(code) for code in errors.ExitCode} == {
        "OK": 0,
        "INTERNAL": 1,
        "USAGE": 2,
        "RUN_FAILED": 3,
        "BAD_CONTEXT": 4,
        "REGRESSION": 5,
        "NO_COMPARISON": 6,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.MadrunError, 1),
        (errors.UsageError, 2),
        (errors.CardError, 2),
        (errors.DataError, 2),
        (errors.EngineError, 2),
        (errors.BuildError, 2),
        (errors.ContextError, 4),
        (errors.NodesError, 3),
    ],
)
def test_each_error_ends_with_its_exit_code(error, code):
    assert int(error("x").exit_code) == code
    assert isinstance(error("x"), errors.MadrunError)


def test_every_error_is_drawn_in_the_tree_of_the_module():
    names = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(names) >= 8
    assert [name for name in names if name not in errors.__doc__] == []
