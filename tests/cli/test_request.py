"""What a user asked for, checked before any file is read."""

import pytest

from madrun.cli.options import RunOptions
from madrun.cli.request import make_request
from madrun.errors import UsageError


def test_without_a_tag_or_a_plan_nothing_is_selected():
    with pytest.raises(UsageError, match="--tags: nothing is selected"):
        make_request(RunOptions())


def test_beside_a_plan_stands_only_what_is_no_part_of_it():
    request = make_request(RunOptions(results="r", join_timeout="5s", additional_context="{}"), "p.json")
    assert (request.saved, request.flags, request.results.name) == ("p.json", {"join_timeout": "5s"}, "r")


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"tags": ["a"]}, "--tags"),
        ({"repo": "."}, "--repo"),
        ({"site": "s"}, "--site"),
        ({"env": ["A=1"]}, "--env"),
        ({"mount": ["/a:/b"]}, "--mount"),
        ({"arg": ["x"]}, "--arg"),
        ({"timeout": "1"}, "--timeout"),
        ({"runtime": "docker"}, "--runtime"),
        ({"force_mirror_local": "d"}, "--force-mirror-local"),
        ({"additional_context_file": "f"}, "--additional-context-file"),
    ],
)
def test_what_would_change_a_plan_is_refused_beside_it(options, flag):
    with pytest.raises(UsageError, match=f"--plan: found {flag} beside it, which would change the plan"):
        make_request(RunOptions(**options), "p.json")


def test_beside_a_saved_plan_only_keys_of_the_launch_may_be_set():
    words = ["ssh.folder=/var/madrun", "slurm.time=2h", "k8s.namespace=x"]
    assert make_request(RunOptions(set_key=words), "plan.json").set_key == tuple(words)
    with pytest.raises(UsageError, match="--plan: found --set beside it"):
        make_request(RunOptions(set_key=[*words, "timeout=2h"]), "plan.json")
