"""From a vendor's host tree to the flags of the engine: in words, in JSON, and as a real engine understands both.

The trees are built in the kernel's documented format; no GPU takes part.
"""

import json
import subprocess
from dataclasses import replace

import pytest
from host_tree import HostTree

from madrun.planning.container import plan_container
from madrun.planning.devices import choose
from madrun.probe.fabric import infiniband_devices
from madrun.runtimes.spelling import docker_argv, engine_config
from madrun.spec.context import Context
from madrun.spec.facts import Engine
from madrun.spec.plan import ImagePlan, Mount

MIG = """\
GPU 0: NVIDIA H200 (UUID: GPU-0)
  MIG 3g.71gb     Device  0: (UUID: MIG-a)
  MIG 3g.71gb     Device  1: (UUID: MIG-b)
"""
QUERY = "index, uuid, name, pci.bus_id\n0, GPU-0, NVIDIA H200, 00000000:01:00.0\n"


@pytest.fixture
def tree(tmp_path):
    return HostTree(tmp_path / "host")


@pytest.fixture
def flags(tree, tmp_path, make_facts, make_job, make_topology):
    """The container for what stands in the tree, with a mount that a real engine can make."""

    def plan(context=None, engine=None, outputs=None, nnodes=1, **env):
        found, _ = tree.find(outputs)
        engine = engine or Engine(name="docker", version="20.10")
        fabric = infiniband_devices(tree.root)
        facts = make_facts(accelerator=found, infiniband=fabric, engine=engine, process_env=env)
        context = context or Context(memlock="default", nofile=None)
        job = make_job(runtime=engine.name, image=ImagePlan(kind="ready", name="img:1"))
        chosen = choose(facts, context.docker_gpus)
        box = tmp_path / "box"
        box.mkdir(exist_ok=True)
        inside = ({"A": "1 2"}, (Mount(source=str(box), target="/madrun"),))
        return plan_container(job, context, chosen, make_topology(nnodes=nnodes), inside)[0]

    return plan


def amd(tree):
    tree.cpu_node(0)
    for node in (1, 2, 3):
        tree.gpu_node(node, minor=128 + 8 * (node - 1))


def pairs(argv):
    """The options that stand before the image, as (flag, value)."""
    return list(zip(argv, argv[1:], strict=False))


def test_an_mi300x_host_gives_kfd_and_its_render_nodes(tree, flags):
    amd(tree)
    options = pairs(docker_argv(flags()))
    assert [value for flag, value in options if flag == "--device"] == [
        "/dev/kfd",
        "/dev/dri/renderD128",
        "/dev/dri/renderD136",
        "/dev/dri/renderD144",
    ]
    assert ("--cap-add", "SYS_PTRACE") in options
    assert ("--security-opt", "seccomp=unconfined") in options
    assert "--gpus" not in dict(options)


def test_chosen_amd_gpus_are_those_of_their_kfd_nodes(tree, flags):
    amd(tree)
    container = flags(Context(docker_gpus="0,2"))
    assert container.devices == ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD144")
    assert flags(ROCR_VISIBLE_DEVICES="1").devices == ("/dev/kfd", "/dev/dri/renderD136")


def test_an_h200_host_asks_the_toolkit(tree, flags):
    tree.nvidia("NVIDIA H200", "NVIDIA H200", "NVIDIA H200")
    assert ("--gpus", "all") in pairs(docker_argv(flags()))
    container = flags(Context(docker_gpus="1-2"))
    assert ("--gpus", '"device=GPU-1,GPU-2"') in pairs(docker_argv(container))
    # Minor numbers run against the PCI order on this host: the files that are looked for are the GPUs' own.
    assert container.env["MADRUN_DEVICES"].split()[-2:] == ["/dev/nvidia1", "/dev/nvidia0"]


def test_a_job_that_a_scheduler_gave_one_gpu_asks_for_that_gpu(tree, flags):
    tree.nvidia(*["NVIDIA H200"] * 4)
    container = flags(outputs={"nvidia-smi --query-gpu": QUERY.replace("GPU-0", "GPU-2").replace(":01:", ":03:")})
    assert ("--gpus", '"device=GPU-2"') in pairs(docker_argv(container))
    assert container.env["MADRUN_DEVICES"].split()[-1] == "/dev/nvidia1"


def test_a_mig_instance_is_asked_for_by_its_id(tree, flags):
    tree.nvidia("NVIDIA H200")
    tree.mig(0, 1)
    container = flags(outputs={"nvidia-smi --query-gpu": QUERY, "nvidia-smi -L": MIG}, CUDA_VISIBLE_DEVICES="MIG-b")
    assert ("--gpus", '"device=MIG-b"') in pairs(docker_argv(container))


def test_rdma_devices_go_to_jobs_of_more_than_one_node(tree, flags):
    amd(tree)
    for name in ("rdma_cm", "uverbs0", "uverbs1"):
        tree.write(f"dev/infiniband/{name}")
    assert [name for name in flags(nnodes=2).devices if "infiniband" in name] == [
        "/dev/infiniband/rdma_cm",
        "/dev/infiniband/uverbs0",
        "/dev/infiniband/uverbs1",
    ]


@pytest.fixture(scope="module")
def empty_image():
    """An image without a single file: nothing of it is ever started."""
    done = subprocess.run(["docker", "import", "-", "madrun-test/flags:1"], input=bytes(10240), capture_output=True)
    assert done.returncode == 0, done.stderr
    yield "madrun-test/flags:1"
    subprocess.run(["docker", "rmi", "madrun-test/flags:1"], capture_output=True, check=True)


@pytest.fixture(scope="module")
def client():
    from docker.api import APIClient

    made = APIClient(version="auto")
    yield made
    made.close()


WHAT_DIFFERS = {"ConsoleSize", "CgroupnsMode", "RestartPolicy"}  # what the two clients fill in by themselves


def _created(container_id):
    shown = subprocess.run(["docker", "inspect", container_id], capture_output=True, text=True, check=True)
    found = json.loads(shown.stdout)[0]
    subprocess.run(["docker", "rm", container_id], capture_output=True, check=True)
    host = {name: value or None for name, value in found["HostConfig"].items() if name not in WHAT_DIFFERS}
    host["DeviceRequests"] = [
        {name: value or None for name, value in request.items()} for request in host.get("DeviceRequests") or []
    ]
    host["Ulimits"] = sorted(host["Ulimits"], key=lambda limit: limit["Name"])
    host["CapAdd"] = [name.removeprefix("CAP_") for name in host["CapAdd"] or ()]
    config = {name: found["Config"][name] for name in ("Entrypoint", "Cmd", "Env", "User", "WorkingDir", "Labels")}
    config["Env"] = sorted(config["Env"])  # the command line client mixes them by going through a map
    return host, config


@pytest.mark.docker
@pytest.mark.parametrize("vendor", ["amd", "nvidia", "some nvidia", "cpu"])
def test_a_real_engine_takes_words_and_json_for_the_same(tree, flags, vendor, empty_image, client):
    if vendor == "amd":
        amd(tree)
    elif vendor != "cpu":
        tree.nvidia("NVIDIA H200", "NVIDIA H200")
    context = Context(memlock="default", nofile=1024, docker_gpus="1" if vendor == "some nvidia" else None)
    container = replace(flags(context), image=empty_image)
    name = container.name.replace("{run_id}", f"flags-{vendor.replace(' ', '-')}")
    words = docker_argv(replace(container, name=name))
    typed = subprocess.run(["docker", "create", *words[2:]], capture_output=True, text=True, check=False)
    assert typed.returncode == 0, typed.stderr
    by_words = _created(typed.stdout.strip())
    by_json = _created(client.create_container_from_config(engine_config(container, {}), name)["Id"])
    differing = {name for one, other in zip(by_words, by_json, strict=True) for name in one if one[name] != other[name]}
    assert differing == set(), (by_words, by_json)
