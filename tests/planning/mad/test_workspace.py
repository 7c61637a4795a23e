"""The mounts of a workspace."""

from madrun.planning.mad.workspace import workspace_mounts
from madrun.spec.mad import Entry


def test_the_work_directory_is_the_workspace_and_the_checkout_lies_read_only_in_it():
    mounts = workspace_mounts((Entry("docker", "/r/docker", True), Entry("README.md", "/r/README.md", False, True)), 1)
    assert [(m.source, m.target, m.read_only) for m in mounts] == [
        ("{run_dir}/node-1/box/work", "/myworkspace", False),
        ("/r/docker", "/myworkspace/docker", True),
    ]


def test_what_is_added_to_scripts_common_lies_over_scripts():
    entries = (Entry("scripts", "/r/scripts", True), Entry("scripts/common/tools", "/m/tools", True, True))
    mounts = workspace_mounts((*entries, Entry("scripts/common/own", "/r/scripts/common/own", True)), 0, "/cache")
    assert [(m.target, m.read_only) for m in mounts] == [
        ("/myworkspace", False),
        ("/myworkspace/scripts", True),
        ("/madrun/cache", False),
        ("/myworkspace/scripts/common", False),
        ("/myworkspace/scripts/common/own", True),
    ]
    assert mounts[3].source == "{run_dir}/node-0/box/work/scripts/common"


def test_nothing_lies_over_scripts_that_are_a_copy():
    entries = (Entry("scripts", "/r/scripts", True, True), Entry("scripts/common/tools", "/m/tools", True, True))
    assert [mount.target for mount in workspace_mounts(entries, 0)] == ["/myworkspace"]
