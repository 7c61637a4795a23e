"""What a job's scripts have written, as it is read while they write."""

from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.slurm.attempt import latest, values


def wrote(folder, number=0, **files):
    attempt = folder / f"attempt-{number}"
    attempt.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (attempt / f"{name.replace('_', '-')}.state").write_text(text)


def test_nothing_is_known_before_a_job_begins(tmp_path):
    assert latest(tmp_path) is None
    assert latest(tmp_path / "missing") is None


def test_the_last_start_counts_and_tasks_have_their_codes(tmp_path):
    wrote(tmp_path, 2, job="host=n1\ncode=3\nended=9\n", node_0="host=n1\ncode=3\nended=8\n")
    wrote(tmp_path, 10, job="host=n2\nsignal=USR2\nran=5:02 1:00:00\n", node_0="host=n2\nstarted=5\n")
    found = latest(tmp_path)
    assert (found.number, found.host, found.code) == (10, "n2", None)
    assert (found.signal, found.ran) == ("USR2", "5:02 1:00:00")
    assert [(node.rank, node.host, node.state) for node in found.nodes] == [(0, "n2", "running")]
    assert not found.said


def test_a_code_of_madruns_own_says_how_the_run_ended_and_that_of_a_signal_does_not(tmp_path):
    wrote(tmp_path, node_0="code=3\n")
    assert latest(tmp_path).said
    wrote(tmp_path, node_0="code=130\n")
    assert not latest(tmp_path).said


def test_other_files_of_the_folder_are_no_starts_and_no_nodes(tmp_path):
    wrote(tmp_path, job="code=0\n", node_x="code=1\n")
    (tmp_path / "attempt-one").mkdir()
    found = latest(tmp_path)
    assert (found.code, found.tasks) == (0, {})


@given(st.lists(st.tuples(st.sampled_from(["host", "code", "ended"]), st.integers(0, 999))), st.integers(0, 200))
def test_a_line_that_is_being_written_is_not_read(tmp_path_factory, lines, cut):
    file = tmp_path_factory.mktemp("state") / "x"
    text = "".join(f"{key}={value}\n" for key, value in lines)
    file.write_text(text[:cut])
    whole = text[:cut].count("\n")
    assert values(file) == {key: str(value) for key, value in lines[:whole]}


@given(st.binary(max_size=60))
def test_any_bytes_of_a_state_file_are_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    wrote(folder)
    (folder / "attempt-0/node-0.state").write_bytes(data)
    assert latest(folder).tasks[0].rank == 0
