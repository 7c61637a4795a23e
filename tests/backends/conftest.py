"""A launch to render, and a stand-in for madrun that writes down how a node's script has started it."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from madrun.backends.carry.talk import Target
from madrun.backends.launchfolder import LaunchFolder
from madrun.spec.launch import SCRIPT, Launch

_RECORDER = """#!{python} -IS
import json, os, sys
with open(os.environ["RECORD"], "w") as file:
    json.dump({{"words": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}, file)
sys.exit(int(os.environ.get("CODE", "0")))
"""


@pytest.fixture(scope="session")
def launch():
    """A launch on two nodes of a card with a ready image; any value may be given."""

    def make(**changes):
        values = {
            "id": "20261121T000000Z-one-a1b2c3",
            "backend": "ssh",
            "folder": "/repo/results/launches/20261121T000000Z-one-a1b2c3",
            "nnodes": 2,
            "words": ("--tags", "one", "--arg", "--lr 1"),
            "files": {"site.yaml": "modules: []\n"},
            "given": {"--site": "site.yaml"},
            "env": {"MADRUN_COMMAND": '["madrun", "run"]'},
            "secrets": ("HF_TOKEN", "MADRUN_SECRET"),
            "cards": ("one",),
            "images": {"cpu": "example/one:1"},
            "master_addr": "",
            "master_port": 20468,
            "control_port": 20469,
            "modules": (),
            "repository": "/repo",
            "results": "/repo/results",
            "command": ("madrun", "run"),
            "python": "/usr/bin/python3",
            "version": "0.7",
        }
        return Launch(**(values | changes))

    return make


@pytest.fixture
def recorder(tmp_path):
    """Its path; what it has recorded lies in the file that the variable RECORD names."""
    path = tmp_path / "recorder"
    path.write_text(_RECORDER.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture
def start_node(recorder, tmp_path):
    """Writes a launch to its folder once, runs the script, and returns how madrun was started: words, env and cwd.

    `text`: lines of sh that are run instead of the script's own command line.
    """

    def start(launch, private=None, shell="sh", code=0, text="", **env):
        folder = LaunchFolder(tmp_path)
        if not (tmp_path / launch.folder).exists():
            folder = LaunchFolder.create(launch, {}, private or {})
        else:
            folder = LaunchFolder(tmp_path / launch.folder)
        record = tmp_path / "record.json"
        record.unlink(missing_ok=True)
        words = [shell, "-c", text] if text else [shell, str(folder.path / SCRIPT)]
        given = {"PATH": os.environ["PATH"], "RECORD": str(record), "CODE": str(code), "MADRUN_PROGRAM": str(recorder)}
        given = {name: value for name, value in (given | env).items() if value is not None}
        done = subprocess.run(words, env=given, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == code, done.stderr
        return json.loads(record.read_text()) if record.exists() else done.stderr

    return start


@pytest.fixture
def golden(request):
    """Compares rendered files with those below `golden/<name>/` beside the test; WRITE_GOLDEN=1 writes them anew."""

    def check(name, files):
        folder = request.path.parent / "golden" / name
        if os.environ.get("WRITE_GOLDEN"):
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                (folder / file).write_text(text)
        assert {path.name: path.read_text() for path in folder.iterdir()} == files

    return check


@dataclass
class NearNode:
    """A node that is a folder of this host: what is started there runs here, with a home and programs of its own."""

    home: Path
    programs: Path
    name: str = "n0"
    env: dict = field(default_factory=dict)

    @property
    def folder(self):
        """What `~/.cache/madrun` is there."""
        return self.home / ".cache/madrun"

    @property
    def target(self):
        """The node as it is asked."""
        return Target(host=self.name, python=sys.executable, engine="docker")

    def start(self, host, script):
        """As `Connections.start`; the login shell says something of its own.

        What is killed is what stands for ssh: behind it the program there sees the end of its input.
        """
        env = {"HOME": str(self.home), "PATH": f"{self.programs}:{os.environ['PATH']}", **self.env}
        words = ["sh", "-c", f"echo 'Welcome to {host}'; cat | {{ {script}; }}"]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(words, env=env, cwd=self.home, **pipes)

    def has_program(self, name, text):
        """A program of this name, a script of sh."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


@dataclass
class CalmHead:
    """The command as a backend sees it, and what it said."""

    said: list = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    reason: str = "interrupted by SIGINT"
    count: int = 0

    def say(self, text):
        """Kept."""
        self.said.append(text)


@pytest.fixture
def near_node(tmp_path):
    """One such node, empty."""
    made = NearNode(tmp_path / "near/home", tmp_path / "near/programs")
    made.home.mkdir(parents=True)
    made.programs.mkdir()
    return made


@pytest.fixture
def calm_head():
    """A command that nobody has interrupted."""
    return CalmHead()


class FakeHead:
    """Remembers what it is to show; `press` is a signal."""

    def __init__(self):
        self.stop = threading.Event()
        self.count = 0
        self.reason = ""
        self.out = self.err = b""
        self.said = []

    def press(self, name="SIGINT"):
        self.count += 1
        self.reason = self.reason or f"interrupted by {name}"
        self.stop.set()

    def say(self, text):
        self.said.append(text)

    def show(self, data):
        self.out += data

    def tell(self, data):
        self.err += data


@pytest.fixture
def head():
    """A head without a terminal."""
    return FakeHead()
