"""What pods, Jobs and events mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.kubernetes.condition import bad_hosts, launch_state, lost, outcome, trouble
from madrun.backends.kubernetes.refused import Away, Gone, refusal
from madrun.errors import ContextError, UsageError

TWO = {"metadata": {"name": "one"}, "spec": {"completions": 2}}


def pod(rank, state=None, **more):
    statuses = [{"name": "madrun", "state": state}] if state else []
    meta = {"name": f"x-{rank}-abcde", "annotations": {"batch.kubernetes.io/job-completion-index": str(rank)}}
    meta |= more.pop("metadata", {})
    return {
        "metadata": meta,
        "spec": {"nodeName": f"host-{rank}"},
        "status": {"containerStatuses": statuses, **more},
    }


def done(rank, code, at="2026-11-21T00:00:00Z", reason="Error"):
    return pod(rank, {"terminated": {"exitCode": code, "finishedAt": at, "reason": reason}})


@pytest.mark.parametrize(
    ("good", "pods", "code", "why"),
    [
        (True, [done(0, 0), done(1, 0)], 0, ""),
        (False, [done(0, 3), done(1, 0)], 3, "node 0 ended first, with exit code 3"),
        (False, [done(0, 4, "2026-11-21T00:00:02Z"), done(1, 2)], 4, "node 1 ended first, with exit code 2"),
        (False, [done(0, 143, "2026-11-21T00:00:02Z"), done(1, 2)], 2, "node 1 ended first, with exit code 2"),
        (False, [done(0, 143, "2026-11-21T00:00:02Z"), done(1, 137, reason="OOMKilled")], 3, "(OOMKilled)"),
        (False, [pod(0), pod(1)], 3, "why"),
    ],
)
def test_the_code_of_a_launch_is_node_0s_or_that_of_the_first_to_fail(good, pods, code, why):
    found = outcome(good, "why", pods)
    assert found.code == code and why in found.why


@pytest.mark.parametrize(
    ("why", "pods", "code", "text"),
    [
        ("DeadlineExceeded: Job was active too long", [done(0, 130), done(1, 3)], 3, "DeadlineExceeded"),
        ("", [done(0, 130), done(1, 130)], 3, "node 0 ended first"),
        ("", [done(0, 130, "2026-11-21T00:00:02Z"), done(1, 4)], 4, "node 1 ended first"),
        ("", [done(0, 128, reason="StartError"), done(1, 128, reason="StartError")], 2, "(StartError"),
    ],
)
def test_a_node_that_the_cluster_ends_tells_no_code_of_its_own(why, pods, code, text):
    found = outcome(False, why, pods)
    assert found.code == code and text in found.why


def test_what_could_not_be_run_is_told_in_the_words_of_the_runtime():
    state = {"exitCode": 128, "reason": "StartError", "message": 'exec: "sh": executable file not found in $PATH'}
    assert (
        'node 0 ended first, with exit code 128 (StartError: exec: "sh": ex'
        in outcome(False, "", [pod(0, {"terminated": state})]).why
    )


def test_what_an_event_tells_of_may_be_over():
    refused = {"reason": "FailedCreate", "message": 'violates PodSecurity "baseline": must not include "IPC_LOCK"'}
    pulling = [pod(rank, {"waiting": {"reason": "ContainerCreating"}}) for rank in range(2)]
    assert trouble(TWO, pulling[:1], [refused])[0].endswith(
        "; leave that right out with --set kubernetes.ipc_lock=false"
    )
    assert trouble(TWO, pulling, [refused]) == ("", True)
    jobset = {"metadata": {"name": "one"}, "spec": {"replicatedJobs": [{"template": TWO}]}}
    assert trouble(jobset, pulling[:1], [refused])[1] is False and trouble(jobset, pulling, [refused])[1] is True
    own = {"reason": "FailedMount", "message": 'MountVolume.SetUp failed for volume "launch": secret "one" not found'}
    assert trouble(TWO, pulling, [own]) == ("", True)


def test_a_job_that_ended_well_beside_a_pod_that_did_not_is_a_failure():
    assert outcome(True, "", [done(0, 0), done(1, 1)]).code == 1


def test_images_come_before_places_and_quotas_can_be_waited_for():
    waiting = pod(1, {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}})
    place = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}
    unplaced = pod(0, conditions=[place])
    assert trouble(TWO, [unplaced, waiting], []) == (
        "node 1: the image cannot be pulled: ImagePullBackOff: no such tag",
        False,
    )
    assert trouble(TWO, [unplaced], []) == ("node 0 waits for a place: 0/2 nodes are available", True)
    quota = {"reason": "FailedCreate", "message": "exceeded quota: q"}
    assert trouble(TWO, [], [quota]) == ("no pod is made: exceeded quota: q", True)
    assert trouble(TWO, [], [{"reason": "FailedCreate", "message": "violates PodSecurity"}])[1] is False
    assert trouble(TWO, [], [{"reason": "FailedMount", "message": 'configmap "x" not found'}])[0].startswith(
        "a volume is missing"
    )


def test_a_pod_that_its_own_job_deletes_is_not_lost():
    leaving = pod(1, {"running": {}}, metadata={"deletionTimestamp": "2026-11-21T00:00:00Z"})
    assert lost([leaving]) == "node 1 on host-1 is deleted from outside, or its host is lost"
    assert lost([leaving], leaving=False) == ""
    assert lost([done(1, 0) | {"metadata": leaving["metadata"]}]) == ""
    assert "NodeLost" in lost([pod(0, reason="NodeLost", message="Node host-0 was unresponsive")], leaving=False)


def test_a_host_that_lost_its_node_is_a_bad_one_and_one_whose_node_gave_way_is_not():
    def taken(rank, reason):
        return pod(rank, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": reason}])

    gone = "DeletionByTaintManager"
    assert bad_hosts([taken(0, "PreemptionByScheduler"), taken(1, gone)]) == {
        "host-1": f"node 1 on host-1 was taken away: {gone}"
    }


def test_a_launch_is_pending_running_or_ended():
    job = {"spec": {"completions": 2}}
    assert launch_state(job, [pod(0)], []).reason == "0 of 2 pods have begun"
    both = [pod(0, {"running": {}}, phase="Running"), pod(1, {"running": {}}, phase="Running")]
    assert launch_state(job, both, []).phase == "running"
    ended = job | {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}
    told = launch_state(ended, [], [])
    assert (told.phase, told.exit_code, told.reason) == ("ended", 3, "DeadlineExceeded")


@given(st.integers(300, 599), st.binary())
def test_any_answer_of_the_api_becomes_an_error_in_words(status, body):
    error = refusal("create jobs", "bench", status, body, "https://api")
    assert isinstance(error, (UsageError, ContextError)) and str(error)
    assert isinstance(error, Away) == (status >= 500 or status in (408, 410, 429))


def test_an_object_that_is_missing_is_not_a_namespace_that_is_missing():
    body = (
        b'{"message": "jobs.batch \\"x\\" not found", "reason": "NotFound", "details": {"name": "x", "kind": "jobs"}}'
    )
    assert isinstance(refusal("get jobs", "bench", 404, body, ""), Gone)
    missing = b'{"message": "namespaces \\"bench\\" not found", "details": {"name": "bench", "kind": "namespaces"}}'
    error = refusal("create jobs", "bench", 404, missing, "")
    assert not isinstance(error, Gone) and "--namespace: found 'bench'" in str(error)
