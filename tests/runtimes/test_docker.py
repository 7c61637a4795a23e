"""What the engine refuses is told apart; containers themselves are the business of the docker tests."""

import pytest

from madrun.runtimes.docker import _refused_limit, _start_error


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("runc create failed: error setting rlimits for type 8: operation not permitted", "memlock"),
        ("error setting rlimit type 7: operation not permitted", "nofile"),
        ("error setting rlimits for type 3: operation not permitted", None),
        ("no such image", None),
    ],
)
def test_a_refused_limit_is_known_by_its_number(text, limit):
    assert _refused_limit(text) == limit


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "container toolkit"),
        ('exec: "bash": executable file not found in $PATH', "img:1 has no bash"),
        ("invalid mount config: bind source path does not exist: /x", "none is created silently"),
        ("something new", "the engine's own log"),
    ],
)
def test_an_error_of_the_engine_is_passed_on_with_what_to_do(container, text, part):
    said = _start_error(text, container)
    assert text in said
    assert part in said
    assert container.name in said
