"""Plays the engine of each rendered form: starts every node from the rendered files alone, as the engine would.

The programs of the engines are stand-ins that do what their manuals say of a node's start; `madrun` is one that writes
down how it was started, as `<rank>.json`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

Record = dict[str, Any]
NODES = 2
_MADRUN = """#!{python} -IS
import json, os, sys
path = os.path.join(os.environ["RECORD"], os.environ["MADRUN_NODE_RANK"] + ".json")
with open(path, "x") as file:
    json.dump({{"words": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}, file)
"""
_TOOLS = {
    # sshd: a fresh environment, the words joined and read by the login shell
    "ssh": """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
shift
exec env -i PATH="$PATH" RECORD="$RECORD" sh -c "$*"
""",
    # srun(1), OUTPUT ENVIRONMENT VARIABLES
    "srun": """#!/bin/sh
count=1
while [ "${1#-}" != "$1" ]; do case $1 in --ntasks=*) count=${1#*=} ;; esac; shift; done
rank=0
while [ "$rank" -lt "$count" ]; do
  SLURM_NODEID=$rank SLURM_PROCID=$rank SLURM_STEP_NUM_NODES=$count SLURMD_NODENAME=h$rank "$@" &
  rank=$((rank + 1))
done
wait
""",
    "scontrol": "#!/bin/sh\ncase \"$*\" in 'show hostnames'*) printf 'h0\\nh1\\n' ;; *) echo NodeAddr=h0 ;; esac\n",
    "getent": "#!/bin/sh\necho '10.0.0.1 STREAM h0'\n",
    "sleep": "#!/bin/sh\nexec /bin/sleep 0.02\n",
}


class Engine:
    """The machines of one form: `folder` is what was rendered, `repository` what the nodes have."""

    def __init__(self, folder: Path, repository: Path, place: Path) -> None:
        self.folder, self.repository, self.place = folder, repository, place
        self.record = place / "record"
        self.record.mkdir(parents=True)
        tools = place / "tools"
        tools.mkdir()
        for name, text in {**_TOOLS, "madrun": _MADRUN.format(python=sys.executable)}.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.env = {"PATH": f"{tools}:/usr/bin:/bin", "RECORD": str(self.record)}

    def start(self, words: list[str], env: Mapping[str, str] = {}) -> None:
        """One program of the engine, to its end."""
        done = subprocess.run(
            words, env={**self.env, **env}, cwd=self.place, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def records(self) -> list[Record]:
        """How each node was started, by rank."""
        assert sorted(path.name for path in self.record.iterdir()) == [f"{rank}.json" for rank in range(NODES)]
        return [json.loads((self.record / f"{rank}.json").read_text()) for rank in range(NODES)]


def ssh(engine: Engine) -> None:
    """The user runs the script."""
    engine.start(["sh", str(engine.folder / "ssh.sh")])


def slurm(engine: Engine) -> None:
    """slurmd runs the job script on the first node of the allocation."""
    engine.start(["sh", str(engine.folder / "job.sh")], {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "h[0-1]"})


def compose(engine: Engine) -> None:
    """The containers see the mounted paths as they are here, and the variables of their service; `$$` is a `$`."""
    document = yaml.safe_load((engine.folder / "compose.yaml").read_text())
    for service in document["services"].values():
        assert {mount["source"] for mount in service["volumes"]} == {mount["target"] for mount in service["volumes"]}
        env = {name: value.replace("$$", "$") for name, value in service["environment"].items()}
        engine.start([word.replace("$$", "$") for word in service["entrypoint"]], env)


def skypilot(engine: Engine) -> None:
    """Each machine has what is mounted in its home, and runs the task's lines by bash."""
    task = yaml.safe_load((engine.folder / "task.yaml").read_text())
    addresses = "\n".join(f"10.0.0.{rank + 1}" for rank in range(task["num_nodes"]))
    values = shlex.split((engine.folder / "private.env").read_text())
    secrets = dict(word.split("=", 1) for word in values if word != "export")
    assert sorted(secrets) == list(task["secrets"])  # `sky launch --secret` gives them
    for rank in range(task["num_nodes"]):
        home = engine.place / f"home-{rank}"
        (home / "sky_workdir").parent.mkdir()
        (home / "sky_workdir").symlink_to(task["workdir"])
        for target, source in task["file_mounts"].items():
            path = home / target.removeprefix("~/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(Path(source).read_bytes())
        env = {"SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NODE_IPS": addresses, "HOME": str(home), **secrets}
        engine.start(["bash", "-c", task["run"]], env)


def kubernetes(engine: Engine) -> None:
    """The controller gives each pod its index; the kubelet mounts its volumes and sets its variables."""
    objects = [one for one in yaml.safe_load_all((engine.folder / "kubernetes.yaml").read_text()) if one]
    maps = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"}
    (job,) = [one["spec"] for one in objects if one["kind"] in ("Job", "JobSet")]
    if "replicatedJobs" in job:
        job = job["replicatedJobs"][0]["template"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", NODES, NODES)
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    for index in range(job["completions"]):
        home = engine.place / f"pod-{index}"
        paths = {mount["mountPath"]: home / mount["name"] for mount in container["volumeMounts"]}

        def there(text: str, paths: dict[str, Path] = paths) -> str:
            for path, place in paths.items():
                text = text.replace(path, str(place))
            return text

        for volume in pod["volumes"]:
            (home / volume["name"]).mkdir(parents=True)
            for source in volume.get("projected", {}).get("sources", []):
                files = maps[source["configMap"]["name"]] if "configMap" in source else _secret(engine, source)
                for name, text in files.items():
                    (home / volume["name"] / name).write_text(there(text) if name == "pod.json" else text)
        env = {"JOB_COMPLETION_INDEX": str(index)}
        for one in container["env"]:
            value = one.get("value", "default")  # without one it is the name of the pod's name space
            for name, known in env.items():
                value = value.replace(f"$({name})", known)
            env[one["name"]] = there(value)
        engine.start([there(word) for word in container["command"]], env)


def _secret(engine: Engine, source: dict[str, Any]) -> dict[str, str]:
    """As `kubectl create secret --from-file` makes it."""
    return {item["path"]: (engine.folder / item["key"]).read_text() for item in source["secret"]["items"]}


FORMS: dict[str, tuple[list[str], Callable[[Engine], None]]] = {
    "ssh": (["--on", "ssh", "--hosts", "h0,h1"], ssh),
    "slurm": (["--on", "slurm", "--nodes", "2"], slurm),
    "kubernetes": (["--on", "kubernetes", "--nodes", "2"], kubernetes),
    "jobset": (["--on", "kubernetes", "--nodes", "2", "--jobset"], kubernetes),
    "compose": (["--on", "compose", "--nodes", "2", "--set", "compose.madrun=installed"], compose),
    "skypilot": (["--on", "skypilot", "--nodes", "2", "--set", "skypilot.madrun=installed"], skypilot),
}
FROM_IMAGE = ["--set", "kubernetes.madrun=installed", "--set"]


def words_of(form: str, repository: Path) -> list[str]:
    """The flags of `madrun render` for one form, none of which carries madrun or the repository."""
    words = FORMS[form][0]
    there = [*FROM_IMAGE, f"kubernetes.repository={repository}"] if "kubernetes" in words else []
    return [*words, *there]


def start(form: str, folder: Path, repository: Path, place: Path) -> list[Record]:
    """Starts every node of a rendered form, and returns how madrun was started on each."""
    engine = Engine(folder, repository, place)
    FORMS[form][1](engine)
    return engine.records()
