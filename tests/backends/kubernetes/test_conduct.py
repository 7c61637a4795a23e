"""A launch on a cluster over real HTTP by the official client: its course, and what goes wrong with it."""

import json
import threading
import time

import pytest
from emulatedcluster import Refusal, archive

from madrun.backends.kubernetes import backend, mirror, objects, podlog, watch
from madrun.backends.state import Which
from madrun.errors import ContextError, UsageError

pytestmark = pytest.mark.slow

RUN = "20261121T000001Z-one-abcdef-1"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Looks more often than is kind to a cluster of many."""
    monkeypatch.setattr(watch, "_LOOK_S", 0.05)
    monkeypatch.setattr(watch, "_TICK_S", 0.02)
    monkeypatch.setattr(watch, "_AWAY_SAID_S", 0.2)
    monkeypatch.setattr(podlog, "_PAUSE_S", 0.05)
    monkeypatch.setattr(mirror, "_PAUSE_S", 0.05)
    monkeypatch.setattr(backend, "_MORE_S", 1.0)
    monkeypatch.setattr(objects, "_TICK_S", 0.02)


def runs(code=0, lines=("hello\n",), wait=None):
    """The life of a pod that prints and ends, after `wait` seconds or once that event is set; told to end earlier, it
    does with 130."""

    def life(pod):
        pod.schedule(f"host-{pod.rank}")
        pod.begin()
        for line in lines:
            pod.say(f"{pod.rank}: {line}")
        if wait is not None:
            over, seconds = (wait, 120) if isinstance(wait, threading.Event) else (threading.Event(), wait)
            end = time.monotonic() + seconds
            while time.monotonic() < end and not (over.is_set() or pod.leaving.wait(0.02) or pod.killed.is_set()):
                pass
        if not pod.killed.is_set():
            if pod.rank == 0:
                pod.say(archive(pod))
            pod.end(130 if pod.leaving.is_set() else code)

    return life


def until(what, seconds=60):
    """Waits for what nobody tells of."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.02)


def test_shows_node_0_keeps_the_others_brings_home_and_leaves_nothing(cluster, start, tmp_path):
    files = {f"runs/{RUN}/record.json": b"{}", f"runs/{RUN}/node-0/console.log": b"x" * 9000}

    def life(pod):
        pod.schedule()
        pod.begin()
        pod.say(f"from {pod.rank}\n")
        if pod.rank == 0:
            pod.say(archive(pod, files))
        pod.end(0)

    cluster.life = life
    started = start()
    assert started.end() == 0
    assert started.head.shown == b"from 0\n"
    assert (started.folder.path / "node-1.log").read_bytes() == b"from 1\n"
    found = tmp_path / "results" / "runs" / RUN
    assert (found / "record.json").read_bytes() == b"{}" and (found / "node-0/console.log").stat().st_size == 9000
    assert cluster.names() == []
    events = {event["event"]: event for event in started.folder.events()}
    assert events["brought home"]["runs"] == [RUN] and events["ended"]["exit_code"] == 0
    assert not (started.folder.path / "private.env").exists()


def test_secrets_stand_in_the_secret_alone_and_all_belongs_to_the_job(cluster, start):
    made = {}
    cluster.life = lambda pod: (made.update(cluster.objects), runs(wait=0.3)(pod))
    started = start()
    cluster.wait_for(lambda: ("create", "secrets") in {request[:2] for request in cluster.requests})
    assert started.end() == 0
    history = [one for _, _, kind, one in cluster.history if kind == "ADDED"]
    holding = [one["kind"] for one in history if "s3cret" in json.dumps(one)]
    assert holding == ["Secret"]
    job = next(one for one in history if one["kind"] == "Job")
    for one in history:
        if one["kind"] in ("ConfigMap", "Secret", "Service"):
            assert one["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert not any("s3cret" in path.read_text() for path in started.folder.path.iterdir())


def test_a_launch_as_jobset_has_no_service_of_its_own(cluster, start):
    cluster.life = runs()
    started = start(jobset=True)
    assert started.end() == 0
    made = {plural for verb, plural, _ in cluster.requests if verb == "create"}
    assert made == {"jobsets", "configmaps", "secrets"} and cluster.names() == []


def test_ends_with_the_code_of_the_node_that_failed_first(cluster, start):
    def life(pod):
        pod.begin()
        if pod.rank == 1:
            pod.say("wrong\n")
            pod.end(3)
        else:
            pod.leaving.wait(60)
            pod.end(143)

    cluster.life = life
    started = start()
    assert started.end() == 3
    assert any("node 1 ended first, with exit code 3" in line for line in started.head.said)
    assert (started.folder.path / "node-1.log").read_bytes() == b"wrong\n" and cluster.names() == []


def test_node_0_tells_the_code_where_it_was_it_that_failed(cluster, start):
    cluster.life = lambda pod: runs(code=4)(pod) if pod.rank == 0 else runs(wait=120)(pod)
    started = start()
    assert started.end() == 4 and cluster.names() == []


def test_a_signal_ends_all_pods_in_order_and_what_node_0_sends_still_comes_home(cluster, start, tmp_path):
    def life(pod):
        pod.begin()
        pod.say("running\n")
        pod.leaving.wait(60)
        if pod.rank == 0:
            pod.say("ended in order\n")
            pod.say(archive(pod, {f"runs/{RUN}/record.json": b"{}"}))
        pod.end(130)

    cluster.life = life
    started = start()
    started.runs()
    started.head.interrupt()
    assert started.end() == 130
    assert b"ended in order\n" in started.head.shown and (tmp_path / "results" / "runs" / RUN / "record.json").exists()
    assert cluster.names() == []


def test_no_line_is_lost_or_doubled_over_connections_that_break(cluster, start):
    def life(pod):
        pod.begin()
        for number in range(200):
            pod.say(f"line {number}\n")
            if number % 23 == 0:
                with cluster.changed:
                    pod.cuts += 1
                time.sleep(0.06)
        if pod.rank == 0:
            pod.say(archive(pod))
        pod.end(0)

    cluster.life = life
    started = start()
    assert started.end() == 0
    assert started.head.shown.decode().splitlines() == [f"line {number}" for number in range(200)]


def test_the_watch_is_taken_up_again_after_410_gone(cluster, start):
    cluster.oldest = 10**9
    cluster.life = runs(wait=0.5)
    started = start()
    time.sleep(0.3)
    cluster.oldest = 0
    assert started.end() == 0 and started.head.shown == b"0: hello\n"


def test_an_api_server_that_is_away_for_a_while_is_asked_again(cluster, start):
    going = threading.Event()
    cluster.life = runs(lines=("before\n", "after\n"), wait=going)
    started = start()
    started.runs()
    cluster.away = True
    started.said("does not answer")
    cluster.away = False
    started.said("answers again")
    going.set()
    assert started.end() == 0
    assert started.head.shown == b"0: before\n0: after\n" and cluster.names() == []


def test_a_namespace_that_is_missing_is_an_error_and_nothing_is_made(cluster, start):
    started = start(namespace="nowhere")
    with pytest.raises(UsageError, match="--namespace: found 'nowhere', which the cluster does not have"):
        started.end()
    assert cluster.names() == []


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_pulled_ends_the_launch(cluster, start, reason):
    cluster.life = lambda pod: pod.wait(reason, 'Back-off pulling image "example/one:1"')
    started = start()
    assert started.end() == 2
    assert f"the image cannot be pulled: {reason}: Back-off pulling image" in "\n".join(started.head.said)
    assert cluster.names() == []


def test_an_image_that_comes_at_the_second_try_is_waited_for(cluster, start):
    def life(pod):
        pod.wait("ErrImagePull", "429 Too Many Requests")
        started.said("429")
        runs()(pod)

    cluster.life = lambda pod: (made.wait(60), life(pod))
    made = threading.Event()
    started = start(start_patience=30)
    made.set()
    assert started.end() == 0


def test_a_pod_that_is_evicted_ends_the_launch_with_its_reason(cluster, start):
    cluster.life = runs(wait=120)
    started = start()
    started.runs()
    cluster.pod(1).evict()
    assert started.end() == 3
    assert any(
        "node 1 on host-1 was taken away" in line and "low on resource: memory" in line for line in started.head.said
    )
    assert cluster.names() == []


def test_a_node_whose_host_is_lost_ends_the_launch_and_its_pod_is_taken_off(cluster, start, monkeypatch):
    monkeypatch.setattr(watch, "_LAST_LINES_S", 1.0)
    cluster.life = runs(wait=120)
    started = start(termination_grace=0)
    started.runs()
    cluster.pod(1).lose_host()
    assert started.end() == 3
    text = "node 1 on host-1 is deleted from outside, or its host is lost"
    assert text in started.head.said
    events = {event["event"]: event for event in started.folder.events()}
    assert events["started"]["hosts"] == ["host-0", "host-1"] and events["bad hosts"]["hosts"] == {"host-1": text}
    assert cluster.names() == []


def test_a_job_that_is_deleted_from_outside_is_told(cluster, start):
    cluster.life = runs(wait=120)
    started = start()
    started.runs()
    job = next(key for key in cluster.objects if key[0] == "jobs")
    cluster.delete(*job)
    assert started.end() == 3
    assert any("from outside" in line or "deleted" in line for line in started.head.said), started.head.said
    assert cluster.names() == []


def test_rights_that_are_missing_are_named_all_at_once_before_anything_is_made(cluster, start):
    cluster.refused = {("create", "jobs"), ("get", "pods/log")}
    started = start()
    with pytest.raises(UsageError) as caught:
        started.end()
    text = str(caught.value)
    assert "namespace default: this user may not get pods/log; create jobs" in text
    assert '{apiGroups: ["batch"], resources: [jobs], verbs: [create, get, delete]}' in text
    assert cluster.names() == [] and cluster.requests == []


def test_a_right_that_only_the_request_itself_shows_missing_is_named_and_what_was_made_is_removed(cluster, start):
    text = 'secrets is forbidden: User "dev" cannot create resource "secrets"'
    cluster.failing = [("create", "secrets", Refusal(403, "Forbidden", text))]
    cluster.life = runs(wait=120)
    started = start()
    with pytest.raises(UsageError, match=r"this user may not create secrets: secrets is forbidden: User .dev."):
        started.end()
    cluster.wait_for(lambda: cluster.names() == [])


def test_a_place_that_is_missing_is_told_and_waited_for_until_the_limit(cluster, start):
    cluster.life = lambda pod: pod.unschedulable("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.")
    started = start(pending_timeout=0.5)
    assert started.end() == 2
    told = [line for line in started.head.said if "Insufficient nvidia.com/gpu" in line]
    assert told[0].startswith("node 0 waits for a place") and told[-1].startswith("not started within 1 s")
    assert len(told) == 2 and cluster.names() == []


def test_a_quota_that_refuses_the_job_is_no_matter_of_rights(cluster, start):
    text = 'jobs.batch "x" is forbidden: exceeded quota: team, requested: count/jobs.batch=1, used: 4, limited: 4'
    cluster.failing = [("create", "jobs", Refusal(403, "Forbidden", text))]
    with pytest.raises(UsageError, match=r"exceeded quota: team.*limited: 4; wait until others have ended"):
        start().end()
    assert cluster.names() == []


def test_a_quota_that_refuses_the_pods_is_waited_for_and_told(cluster, start):
    cluster.life = lambda pod: None
    cluster._make_pod = lambda namespace, owner, *rest: (
        cluster.event(
            owner["metadata"]["name"],
            "FailedCreate",
            "pods is forbidden: exceeded quota: gpus, requested: 8, limited: 4",
        )
        or _Nobody()
    )
    started = start(pending_timeout=0.5)
    assert started.end() == 2
    assert any("no pod is made: pods is forbidden: exceeded quota: gpus" in line for line in started.head.said)
    assert cluster.names() == []


class _Nobody:
    """A pod that was never made."""

    def __init__(self):
        self.over, self.manifest = threading.Event(), {"status": {"phase": "Pending"}}


def test_pods_that_admission_refuses_end_the_launch(cluster, start):
    cluster.life = lambda pod: None
    cluster._make_pod = lambda namespace, owner, *rest: (
        cluster.event(
            owner["metadata"]["name"], "FailedCreate", 'pods "x" is forbidden: violates PodSecurity "baseline"'
        )
        or _Nobody()
    )
    started = start()
    assert started.end() == 2
    assert any("violates PodSecurity" in line for line in started.head.said) and cluster.names() == []


def test_what_the_cluster_refuses_is_an_error_of_the_context(cluster, start):
    text = "Job.batch is invalid: spec.template.spec.affinity.foo: unknown field"
    cluster.failing = [("create", "jobs", Refusal(422, "Invalid", text))]
    with pytest.raises(ContextError, match="the cluster refuses to create jobs: Job.batch is invalid"):
        start().end()


def test_a_cluster_without_jobset_says_so(cluster, start):
    cluster.jobset = False
    with pytest.raises(UsageError, match="--jobset: the cluster has no JobSet controller"):
        start(jobset=True).end()


def test_a_user_whom_the_cluster_does_not_know(cluster, start):
    cluster.failing = [("create", "jobs", Refusal(401, "Unauthorized", "Unauthorized"))]
    with pytest.raises(UsageError, match="does not know this user .401 Unauthorized.; log in again"):
        start().end()


def test_a_server_that_does_not_answer_at_the_start_is_an_error(cluster, start):
    cluster.away = True
    with pytest.raises(UsageError, match="the API server http://127.0.0.1:[0-9]+ does not answer"):
        start().end()


def test_state_and_stop_work_from_the_folder_alone(cluster, start, head):
    cluster.life = runs(wait=20)
    started = start()
    started.runs()
    told = backend.state(started.folder)
    assert told.phase == "running" and [(node.rank, node.host, node.state) for node in told.nodes] == [
        (0, "host-0", "Running"),
        (1, "host-1", "Running"),
    ]
    assert backend.logs(started.folder, head, Which(node=1)) == 0 and head.shown == b"1: hello\n"
    assert backend.stop(started.folder, head) == 0
    assert started.end() == 3 and cluster.names() == []
    assert backend.state(started.folder).phase == "ended"


def test_a_launch_that_waits_for_its_queue_says_so(cluster, start):
    started = start(queue="gpus")
    started.said("queue gpus has not admitted it")
    assert backend.state(started.folder).reason.startswith(
        "its queue has not admitted it; nobody attends it; madrun attend"
    )
    started.head.interrupt()
    assert started.end() == 130 and cluster.names() == []


def test_a_launch_whose_attendant_died_is_followed_on(cluster, folder, head, monkeypatch):
    from madrun.backends.kubernetes.cluster import connect
    from madrun.backends.kubernetes.names import names_of
    from madrun.backends.kubernetes.settings import read

    cluster.life = runs(wait=0.2)
    made = folder()
    launch = made.launch()
    settings, _ = read(launch.settings, 2)
    names = names_of(launch.id, 2, False)
    objects.submit(connect(settings), made, settings, names)
    made.journal("submitted", namespace="default", job=names.job, server="")
    monkeypatch.setattr(cluster, "create", None)
    assert backend.conduct(made, head, False) == 0
    assert head.shown == b"0: hello\n" and cluster.names() == []


def test_results_that_do_not_come_home_are_no_success(cluster, start):
    cluster.life = lambda pod: (pod.begin(), pod.say("hello\n"), pod.end(0))
    started = start(results_claim="results")
    assert started.end() == 3
    assert any(
        line.startswith("no results came home: node 0") and "claim results" in line for line in started.head.said
    )
    assert cluster.names() == []


def test_a_log_that_takes_longer_to_come_than_the_end_is_waited_for(cluster, start, monkeypatch):
    monkeypatch.setattr(backend, "_MORE_S", 0.4)
    cluster.log_pause = 0.1  # the mark of the archive comes last, after two seconds
    cluster.life = runs(lines=("hello\n" * 20,))
    started = start(termination_grace=0)
    assert started.end() == 0
    assert started.head.shown.count(b"hello\n") == 20


def test_a_login_that_runs_out_is_asked_again_and_nothing_is_left(cluster, start):
    refused = Refusal(401, "Unauthorized", "Unauthorized")
    going = threading.Event()
    cluster.life = runs(wait=going)
    started = start()
    started.runs()
    cluster.failing = [("get", "jobs", refused)] * 8
    started.said("does not know this user (401 Unauthorized); log in again, as for kubectl get pods; asking again")
    started.said("answers again")
    going.set()
    assert started.end() == 0 and cluster.names() == []


def test_a_server_that_goes_away_while_it_is_submitted_to_leaves_words_on_what_is_there(cluster, start):
    cluster.life = runs(wait=5)
    real = cluster.create

    def create(plural, *rest):
        cluster.away = plural == "secrets" or cluster.away
        if cluster.away:
            raise Refusal(503, "ServiceUnavailable", "shutting down")
        return real(plural, *rest)

    cluster.create = create
    started = start()
    with pytest.raises(
        UsageError, match=r"503 shutting down\nleft in the cluster: job/m.*; remove it: kubectl -n default"
    ):
        started.end()
    cluster.away = False
    assert backend.stop(started.folder, started.head) == 0
    cluster.wait_for(lambda: cluster.names() == [])


def test_whoever_is_interrupted_while_it_is_submitted_makes_nothing_more(cluster, start):
    real = cluster.create
    cluster.create = lambda plural, *rest: (plural == "configmaps" and interrupted.wait(60), real(plural, *rest))[1]
    interrupted = threading.Event()
    cluster.life = lambda pod: (started.head.interrupt(), interrupted.set())
    started = start()
    assert started.end() == 130 and cluster.names() == []
    assert {plural for verb, plural, _ in cluster.requests if verb == "create"} <= {"jobs", "configmaps"}


def test_an_attendant_that_died_while_it_submitted_is_told_and_its_job_is_removed(cluster, folder, head, monkeypatch):

    def submit(cluster, folder, *_rest):
        cluster.create(objects.load((folder.path / objects.OBJECTS).read_text())[-1])
        raise SystemExit

    cluster.life = runs(wait=120)
    made = folder()
    monkeypatch.setattr(objects, "submit", submit)
    monkeypatch.setattr(backend, "_forget", lambda _folder: None)
    with pytest.raises(SystemExit):
        backend.conduct(made, head, False)
    made.path.joinpath("journal.jsonl").write_text(
        "".join(f"{json.dumps(event)}\n" for event in made.events() if event["event"] != "ended")
    )
    told = backend.state(made)
    assert told.phase in ("running", "pending") and "nobody attends it" in told.reason
    with pytest.raises(
        UsageError, match="its attendant was killed while it was submitted; what was there of it is rem"
    ):
        backend.conduct(made, head, False)
    cluster.wait_for(lambda: cluster.names() == [])


def test_a_quota_that_refuses_the_pods_of_a_jobset_is_told_by_its_job(cluster, start):
    def make_pod(namespace, owner, name, *_rest):
        cluster.event(name, "FailedCreate", "pods is forbidden: exceeded quota: gpus")
        return _Nobody()

    cluster._make_pod = make_pod
    cluster.life = lambda pod: None
    started = start(jobset=True)
    started.said("no pod is made: pods is forbidden: exceeded quota: gpus")
    started.head.interrupt()
    assert started.end() == 130 and cluster.names() == []


def test_a_queue_that_takes_the_pods_away_and_begins_them_anew_costs_no_line(cluster, start):
    def life(pod):
        pod.schedule(f"host-{pod.rank}")
        pod.begin()
        pod.say(f"{len(cluster.pods)} pods so far\n")
        if len(cluster.pods) == 2:
            pod.leaving.wait(60)
        elif pod.rank == 0:
            pod.say(archive(pod))
        pod.end(130 if pod.leaving.is_set() else 0)

    cluster.life = life
    cluster._control = lambda *_words: None
    started = start()
    started.runs()
    logs = [started.folder.path / f"node-{rank}.log" for rank in range(2)]
    until(lambda: all(log.exists() and log.stat().st_size for log in logs))
    (job,) = [one for key, one in cluster.objects.items() if key[0] == "jobs"]
    job["spec"]["suspend"] = True
    for name in list(cluster.pods):
        cluster.delete("pods", "default", name)
    started.said("has not admitted it")
    job["spec"]["suspend"] = False
    cluster._begin("default", job, job["metadata"]["name"])
    until(lambda: len([pod for pod in cluster.pods.values() if pod.over.is_set()]) == 4)
    cluster._condition(job, "Complete", "CompletionsReached", "all have ended")
    assert started.end() == 0
    for log in logs:
        lines = log.read_text().split("\n")
        assert lines[0] == "2 pods so far" and lines[1].endswith("pods so far"), "a log of the first pods is kept"


def test_a_second_signal_waits_for_nobody(cluster, start):
    def life(pod):
        pod.begin()
        pod.say("deaf\n")
        pod.killed.wait(600)

    cluster.life = life
    started = start(termination_grace=600)
    started.runs()
    started.head.interrupt()
    until(cluster.pod(0).leaving.is_set)
    started.head.interrupt()
    begun = time.monotonic()
    assert started.end() == 130
    assert time.monotonic() - begun < 60 and cluster.names() == [], "their grace is ten minutes"


def test_a_cluster_that_does_not_answer_loses_no_launch_that_is_attended(cluster, start, head):
    from madrun.backends.launchfolder import ATTENDANT
    from madrun.locks import locked

    cluster.life = runs(wait=2)
    started = start()
    started.runs()
    cluster.away = True
    with locked(started.folder.path / ATTENDANT):
        told = backend.state(started.folder)
    assert told.phase == "running" and "does not answer" in told.reason
    assert backend.state(started.folder).phase == "lost"
    cluster.away = False
    assert started.end() == 0


def test_the_last_lines_of_a_node_are_read_from_the_cluster_and_followed(cluster, start, head):
    cluster.life = runs(lines=("one\n", "two\n"), wait=0.8)
    started = start()
    started.runs()
    assert backend.logs(started.folder, head, Which(node=1, lines=1)) == 0 and head.shown == b"1: two\n"
    head.shown = b""
    cluster.pod(1).say("three\n")
    assert backend.logs(started.folder, head, Which(node=1, lines=1, follow=True)) == 0
    assert head.shown == b"three\n"
    assert started.end() == 0
