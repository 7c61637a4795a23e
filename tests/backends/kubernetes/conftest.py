"""A cluster over HTTP, a launch in its folder, and a head that keeps what it is told."""

import threading
import time

import pytest
from emulatedcluster import Cluster, serve

from madrun.backends.kubernetes import backend
from madrun.backends.kubernetes.payload import Payload
from madrun.backends.kubernetes.render import render_with
from madrun.backends.kubernetes.settings import read
from madrun.backends.launchfolder import LaunchFolder


class Head:
    """The command's terminal."""

    def __init__(self):
        self.stop, self.reason, self.count = threading.Event(), "", 0
        self.said, self.shown = [], b""

    def say(self, text):
        self.said.append(text)

    def show(self, data):
        self.shown += data

    tell = show

    def interrupt(self):
        self.reason, self.count = "SIGINT", self.count + 1
        self.stop.set()


class Started:
    """A launch that is conducted in a thread."""

    def __init__(self, folder, head, cluster):
        self.folder, self.head, self.cluster = folder, head, cluster
        self.code = self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.code = backend.conduct(self.folder, self.head, False)
        except Exception as error:
            self.error = error

    def end(self, seconds=20):
        self.thread.join(seconds)
        assert not self.thread.is_alive(), self.head.said
        if self.error:
            raise self.error
        return self.code

    def runs(self, nodes=2):
        """Waits until it is submitted and each node has printed something."""
        self.said("job/")
        self.cluster.wait_for(lambda: len([pod for pod in self.cluster.pods.values() if pod.lines]) == nodes)

    def said(self, text, seconds=60):
        """Waits until the head was told that."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.head.said):
            assert time.monotonic() < deadline, self.head.said
            time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path):
    """With a kubeconfig at `cluster.kubeconfig`."""
    import kubernetes.client  # noqa: F401 - takes seconds the first time, and is not what is waited for

    one = Cluster()
    one.kubeconfig = tmp_path / "kubeconfig"
    with serve(one, one.kubeconfig):
        yield one


@pytest.fixture
def folder(launch, tmp_path, cluster):
    """Makes the folder of a launch; nothing is carried but what is given."""

    def make(payload=None, **settings):
        values = {"kubeconfig": str(cluster.kubeconfig), "termination_grace": 2, "start_patience": 0, **settings}
        found = launch(
            backend="kubernetes",
            folder=str(tmp_path / "launch"),
            results=str(tmp_path / "results"),
            settings=values,
        )
        rendered = render_with(found, read(values, 2)[0], Payload(payload or {}))
        return LaunchFolder.create(found, rendered, {"MADRUN_SECRET": "s3cret"})

    return make


@pytest.fixture
def start(folder, cluster):
    """Conducts a launch in a thread."""
    started = []

    def begin(**settings):
        if not started:
            started.append(Started(folder(**settings), Head(), cluster))
        return started[-1]

    yield begin
    for one in started:
        one.head.interrupt()
        one.head.count = 2
        one.thread.join(60)


@pytest.fixture
def head():
    return Head()
