"""Hands a job script to sbatch: asked whether it would run first, and never handed over twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from madrun.backends.head import Head
from madrun.backends.slurm.client import Answer, Job, ask, hostnames, job_of, named, submit
from madrun.backends.slurm.header import overruling
from madrun.backends.slurm.lines import options_of
from madrun.backends.slurm.offers import POLICY, allowed
from madrun.errors import ContextError, UsageError

_TRIES, _PAUSE_S = 4, 5.0
_BUSY = ("Unable to contact slurm controller", "Socket timed out", "Connection refused", "gave no answer", "Zero Bytes")
_NO_NODES = "Requested node configuration is not available"
# What sbatch says, and by which key of the context that is mended.
_KEYS = {
    "maxwall": "time",
    "maxnode": "nodes",
    "maxcpu": "cpus_per_task",
    "maxgres": "gpus_per_node",
    "maxmem": "mem",
    "accounting/qos policy": "qos",
    "invalid account": "account",
    "partition": "partition",
    "time limit": "time",
    "--time": "time",
    "account": "account",
    "qos": "qos",
    "reservation": "reservation",
    "feature": "constraint",
    "node name": "nodelist",
    "generic resource": "gpus_per_node",
    "gres": "gpus_per_node",
    "memory": "mem",
    "mail": "mail_type",
    "unrecognized option": "sbatch",
    "license": "sbatch",
}


def check_and_submit(script: Path, name: str, hidden: tuple[str, ...], head: Head) -> Job:
    """The job that this script became. `hidden`: variables that SLURM must not keep with the job.

    Raises `ContextError` where SLURM refuses what is asked for, `UsageError` where there is none or it does not answer.
    """
    text = script.read_text()
    without = [word for variable in (*hidden, *overruling(text)) for word in ("-u", variable)]
    front = ["env", *without, "sbatch"]
    ask(["sbatch", "--version"])  # without sbatch here `env` would say so, in its own words
    answer = _patient([*front, "--test-only", str(script)], name, head)
    if isinstance(answer, Answer) and answer.code:
        # So it says too where nodes are down or drained for now; sbatch itself takes such a job, and lets it wait.
        if _NO_NODES not in answer.err:
            raise _refused(answer, text)
        _check_count(options_of(text))
        head.say("as the cluster is now, no nodes fit the job; submitting it all the same")
    done = _patient([*front, "--parsable", str(script)], name, head)
    if isinstance(done, Job):
        return done
    if done.code:
        raise _refused(done, text)
    if (job := job_of(done.out)) is None:
        raise UsageError(f"sbatch: found no job number in what it printed: {done.out.strip()!r}")
    return job


def _patient(words: list[str], name: str, head: Head) -> Answer | Job:
    """Asks again while the controller is busy; a request without an answer may have become a job all the same."""
    handed_over = "--parsable" in words
    for attempt in range(_TRIES):
        answer = submit(words, lambda: head.count <= handed_over)
        if head.stop.is_set() and not handed_over:
            raise UsageError("nothing was submitted")
        if answer.code == 0 or not any(sign in answer.err for sign in _BUSY):
            return answer
        if attempt == 0:
            head.say(f"the SLURM controller does not answer ({answer.said}); asking again")
        if handed_over or attempt + 1 < _TRIES:
            head.stop.wait(_PAUSE_S * (attempt + 1))
        if handed_over and (job := named(name)):
            return job
        if head.stop.is_set():
            break
    known = f"; squeue --me --name={name} shows whether it became a job" if handed_over else ""
    raise UsageError(
        f"sbatch: {answer.said}; found no answer of the SLURM controller in {attempt + 1} tries{known}; try later"
    )


def _check_count(given: Mapping[str, str]) -> None:
    """Raises `ContextError` where the partitions have fewer nodes than are asked for, up or not."""
    count, named = given.get("nodes", ""), given.get("partition", "")
    where = [f"--partition={named}"] if named else []
    answer = ask(["sinfo", "--noheader", "--format=%R|%D", *where])
    sizes = [size for _, _, size in (line.rpartition("|") for line in answer.out.split()) if size.isdecimal()]
    most = max(map(int, sizes), default=0)
    if answer.code or not most or not count.isdecimal():
        return
    if int(count) > most:
        text = f"partition {named} has no more" if named else "no partition has more"
        raise ContextError(f"slurm.nodes: found {count}, allowed: at most {most}, for {text}")
    if out := given.get("exclude"):
        every = set(ask(["sinfo", "--noheader", "--Node", "--format=%N", *where]).out.split())
        if every and (left := len(every - set(hostnames(out)))) < int(count):
            raise ContextError(
                f"slurm.exclude: found {out}, which leaves {left} of {len(every)} nodes; allowed: what leaves at least "
                f"{count}"
            )


def _refused(answer: Answer, text: str) -> ContextError:
    """The same as `refusal`, and what is allowed, where the cluster tells."""
    key, given = _key(answer), options_of(text)
    offer = allowed(POLICY, given) if "policy" in answer.said else allowed(key, given)
    return refusal(answer, text, offer)


def _key(answer: Answer) -> str:
    return next((key for sign, key in _KEYS.items() if sign in answer.said.lower()), "")


def refusal(answer: Answer, text: str, offer: str = "") -> ContextError:
    """What sbatch has against the job of this script, with the key of the context that says it."""
    said, key = answer.said.removeprefix("allocation failure: ").replace("; allocation failure: ", "; "), _key(answer)
    if key == "nodelist":
        key = " or slurm.".join(key for key in ("nodelist", "exclude") if f"#SBATCH --{key}" in text) or key
    if _NO_NODES in said:
        said += " (no nodes of the partition have so many CPUs, so much memory, so many GPUs, or there are too few)"
    return ContextError(f"slurm{'.' if key else ''}{key}: refused by sbatch: {said}{f'; {offer}' if offer else ''}")
