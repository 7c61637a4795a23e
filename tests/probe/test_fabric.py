"""Device files for RDMA."""

from madrun.probe.fabric import infiniband_devices


def test_the_device_files_are_sorted_and_folders_left_out(tmp_path):
    folder = tmp_path / "dev/infiniband"
    (folder / "by-path").mkdir(parents=True)
    for name in ("uverbs1", "rdma_cm", "uverbs0", "umad0"):
        (folder / name).touch()
    assert infiniband_devices(tmp_path) == (
        "/dev/infiniband/rdma_cm",
        "/dev/infiniband/umad0",
        "/dev/infiniband/uverbs0",
        "/dev/infiniband/uverbs1",
    )


def test_a_host_without_rdma_has_none(tmp_path):
    assert infiniband_devices(tmp_path) == ()
