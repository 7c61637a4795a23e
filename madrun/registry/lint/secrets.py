"""Rules for secrets: printed by a trace, or written down."""

from __future__ import annotations

import re
from collections.abc import Iterator

from madrun.registry.lint.finding import Hit, Rule
from madrun.registry.lint.scripts import Script
from madrun.registry.lint.texts import Text

_ON = re.compile(r"\bset\s+(?:-\w+\s+)*(?:-\w*x\w*|-o\s+xtrace)(?!\w)")
_OFF = re.compile(r"\bset\s+(?:\+\w+\s+)*(?:\+\w*x\w*|\+o\s+xtrace)(?!\w)")
_TRACED_SHELL = re.compile(r"#!.*sh\s+.*-\w*x")
_CALLS_TRACED = re.compile(r"\b(?:ba)?sh\s+(?:-\w+\s+)*-\w*x\w*\s+(?:-\w+\s+)*[\"']?(?:\./)?([\w./-]+)")
_SOURCES = re.compile(r"(?:^|[;&|]\s*)\s*(?:source|\.)\s+[\"']?(?:\./)?([\w./-]+)")
_SECRET = (
    r"(?:\w*MAD_SECRETS\w*|\w*(?:HF_?TOKEN|(?:ACCESS|AUTH|API|GITHUB|GH|HUB|WANDB|NGC)_TOKEN|SECRET(?:_?KEY)?|"
    r"PASSWORD|PASSWD|API_?KEY|ACCESS_KEY(?:_ID)?))"
)
_USE = re.compile(rf"\$(?:{_SECRET}\b|\{{{_SECRET}(?:\}}|:-|-|:=|%|/|:\d))")
_LITERAL = re.compile(rf"\b({_SECRET})=[\"']?(?![\"'$\s<;]|$)\S+")
_WRITTEN = (
    ("a token of Hugging Face", re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    ("a token of GitHub", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})\b")),
    ("an access key of AWS", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    ("a token of Slack", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}\b")),
    ("a token of GitLab", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}\b")),
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")),
)
_ANY = ("hf_", "gh", "AKIA", "xox", "glpat-", "-----BEGIN")
_EXAMPLE = re.compile(r"EXAMPLE|(.)\1{9}", re.IGNORECASE)


def traced_names(script: Script) -> set[str]:
    """The scripts that this one starts under `bash -x`, or sources while it traces itself."""
    found = set()
    tracing = _begins_traced(script)
    for line in script.lines:
        found |= set(_CALLS_TRACED.findall(line.text))
        if tracing:
            found |= set(_SOURCES.findall(line.text))
        tracing = _after(line.bare, tracing)
    return {name.rpartition("/")[2] for name in found}


def traced_secret(script: Script) -> Iterator[Hit]:
    """A secret is used while bash prints every command with the values put in."""
    tracing = _begins_traced(script)
    for line in script.lines:
        tracing = _after(line.bare, tracing)
        if not tracing:
            continue
        text = re.sub(r"'[^']*'", "''", line.text)
        if found := _USE.search(text):
            yield script.hit(line.number, f"{found[0]} while `set -x` is on")
        elif literal := _LITERAL.search(line.text):
            yield script.hit(line.number, f"{literal[1]}=... while `set -x` is on")


def _begins_traced(script: Script) -> bool:
    return script.traced or bool(_TRACED_SHELL.match(script.text.lines[0]))


def _after(bare: str, tracing: bool) -> bool:
    switches = [(found.start(), True) for found in _ON.finditer(bare)]
    switches += [(found.start(), False) for found in _OFF.finditer(bare)]
    return max(switches)[1] if switches else tracing


def written_token(text: Text) -> Iterator[Hit]:
    """A token or key that stands in a file; what it is, never its text."""
    if not any(word in text.raw for word in _ANY):
        return
    for number, line in enumerate(text.lines, 1):
        for what, pattern in _WRITTEN:
            found = pattern.search(line)
            if found and not _EXAMPLE.search(found[0].replace("-----", "")):
                yield Hit(text.name, number, f"{what} ({found[0][:5]}...)")


TRACED_SECRET = Rule("traced-secret", "error", "put `set +x` before it: the log shows the value", traced_secret)
WRITTEN_TOKEN = Rule(
    "written-token",
    "error",
    "withdraw it where it was issued, and hand it over as a variable (MAD_SECRETS...)",
    written_token,
)
