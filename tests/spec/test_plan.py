"""The job hash names the job; the run's id and directory are filled in when it begins."""

from dataclasses import replace

from madrun.spec.binding import bind, unbind
from madrun.spec.plan import BOX, Mount, make_plan


def test_the_job_hash_changes_with_the_job_and_not_with_the_node(make_job, make_node):
    job = make_job()
    first = make_plan("0.0", job, make_node())
    elsewhere = make_plan("0.0", job, make_node(master_addr="10.1.1.1", master_port=1, control_port=2, node_rank=1))
    assert first.job_hash == elsewhere.job_hash
    assert make_plan("0.0", replace(job, args="--lr 0"), make_node()).job_hash != first.job_hash


def test_binding_fills_in_run_id_and_directory_everywhere(make_node, container):
    open_container = replace(container, name="madrun-{run_id}-n0", env={"ID": "{run_id}"}, labels={"l": "{run_id}"})
    mounts = (replace(container.mounts[0], source="{run_dir}/node-0/box"),)
    bound = bind(make_node(container=replace(open_container, mounts=mounts)), "r1", "/results/runs/r1")
    assert bound.container.name == "madrun-r1-n0"
    assert bound.container.env == {"ID": "r1"}
    assert bound.container.labels == {"l": "r1"}
    assert bound.container.mounts[0].source == "/results/runs/r1/node-0/box"
    assert bound.process.workdir == "/results/runs/r1/node-0/box/work"
    assert "{run" not in repr(bound)


def test_binding_leaves_other_braces_alone(make_node):
    bound = bind(make_node(hostname="{other}"), "r1", "/r")
    assert bound.hostname == "{other}"
    assert bound.node_rank == 0


def test_names_of_nodes_go_where_a_container_is_to_get_them_and_out_again(make_node, container):
    wanting = make_node(
        process=None,
        container=replace(
            container,
            name="madrun-{run_id}-n0",
            hosts=("{hosts}",),
            env={"MADRUN_RUN_ID": "{run_id}"},
            mounts=(Mount(source="{run_dir}/node-0/box", target=BOX),),
        ),
    )
    bound = bind(wanting, "r1-one", "/results/runs/r1-one", ("alpha:10.0.0.1", "beta:10.0.0.2"))
    assert bound.container.hosts == ("alpha:10.0.0.1", "beta:10.0.0.2")
    assert unbind(bound) == wanting
    refusing = make_node(container=container)
    assert bind(refusing, "r1", "/r", ("alpha:10.0.0.1",)).container.hosts == ()
