"""How a launch stands: by the files of its job, by SLURM, and by what the command that waited for it has noted."""

from __future__ import annotations

from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.slurm.attempt import JOB_STATE, Attempt, latest, values
from madrun.backends.slurm.client import Job, Unanswered, look
from madrun.backends.slurm.header import job_name
from madrun.backends.slurm.settings import read
from madrun.backends.slurm.states import JobState
from madrun.backends.slurm.verdict import judge
from madrun.backends.state import LaunchPhase, LaunchState


def state_of(folder: LaunchFolder) -> LaunchState:
    """Also of a launch inside of an allocation, which may end before it, and of one that was submitted by hand."""
    attempt = latest(folder.path)
    nodes = attempt.nodes if attempt else ()
    if ended := next((event for event in reversed(folder.events()) if event["event"] == "ended"), None):
        return LaunchState(phase="ended", reason=ended["text"], exit_code=ended["code"], nodes=nodes)
    allocation = allocation_in(folder)
    job = allocation or job_in(folder)
    if job is None:
        return LaunchState(phase="running" if attempt else "preparing", nodes=nodes)
    if allocation and attempt is not None and attempt.code is not None:
        return _ended(folder, job, None, attempt)
    try:
        seen = look(job)
    except Unanswered as error:
        phase: LaunchPhase = "running" if attempt and attempt.code is None else "lost"
        return LaunchState(phase=phase, reason=f"the SLURM controller does not answer: {error}", nodes=nodes)
    return _going_on(job, seen, attempt, bool(allocation)) or _ended(folder, job, seen, attempt)


def _going_on(job: Job, seen: JobState | None, attempt: Attempt | None, inside: bool) -> LaunchState | None:
    """None where it does not."""
    nodes = attempt.nodes if attempt else ()
    if seen is None or seen.phase == "ended":
        return None
    if seen.phase == "pending":
        return LaunchState(phase="pending", reason=f"job {job.id}: {seen.waits}", nodes=nodes)
    if seen.phase == "lost":
        return LaunchState(phase="lost", reason=f"job {job.id}: SLURM calls its state {seen.word}", nodes=nodes)
    if attempt is not None and attempt.code is not None:
        return None
    where = f"{'inside of ' if inside else ''}job {job.id} on {seen.hosts}"
    return LaunchState(phase="running" if attempt or not inside else "preparing", reason=where, nodes=nodes)


def _ended(folder: LaunchFolder, job: Job, seen: JobState | None, attempt: Attempt | None) -> LaunchState:
    launch = folder.launch()
    settings, _ = read(launch.settings, launch.nnodes)
    verdict = judge(folder.path, job.id, attempt, seen, settings.signal_s)
    text = verdict.text or f"job {job.id}{f' {seen.word}' if seen else ''}"
    nodes = attempt.nodes if attempt else ()
    return LaunchState(phase="ended", reason=text, exit_code=int(verdict.code), nodes=nodes)


def job_in(folder: LaunchFolder) -> Job | None:
    """The job that this folder was submitted as, by madrun or by hand; None where it was not, or has not begun."""
    for event in reversed(folder.events()):
        if event["event"] == "submitted":
            return Job(str(event["job"]), str(event.get("cluster", "")))
    attempt = latest(folder.path)
    said = values(attempt.path / JOB_STATE) if attempt else {}
    # Started by hand inside of an allocation it is a part of that job only, which has another name.
    by_hand = said.get("job") and said.get("name") == job_name(folder.launch())
    return Job(said["job"]) if by_hand else None


def allocation_in(folder: LaunchFolder) -> Job | None:
    """The job inside of which this launch was started; None for one that has a job of its own."""
    found = next((event for event in folder.events() if event["event"] == "inside"), None)
    return Job(str(found["job"])) if found else None
