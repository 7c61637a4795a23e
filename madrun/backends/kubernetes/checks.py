"""What the schemas of Kubernetes leave open and its API refuses: enumerated words, names, and what has to go together.

The words are those of the API reference (kubernetes.io/docs/reference/kubernetes-api, 1.25 to 1.37).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from madrun.errors import ContextError
from madrun.spec.validation import did_you_mean

_SELECTORS = ("In", "NotIn", "Exists", "DoesNotExist")
# By the end of the path to a value, the words that may stand there; the longest end counts.
WORDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("restartPolicy",): ("Always", "OnFailure", "Never"),
    ("completionMode",): ("NonIndexed", "Indexed"),
    ("imagePullPolicy",): ("Always", "IfNotPresent", "Never"),
    ("dnsPolicy",): ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"),
    ("whenUnsatisfiable",): ("DoNotSchedule", "ScheduleAnyway"),
    ("effect",): ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    ("action",): ("FailJob", "FailIndex", "Count", "Ignore"),
    ("medium",): ("", "Memory"),
    ("tolerations", "operator"): ("Exists", "Equal"),
    ("onExitCodes", "operator"): ("In", "NotIn"),
    ("matchExpressions", "operator"): _SELECTORS,
    ("nodeSelectorTerms", "matchExpressions", "operator"): (*_SELECTORS, "Gt", "Lt"),
    ("preference", "matchExpressions", "operator"): (*_SELECTORS, "Gt", "Lt"),
    ("matchFields", "operator"): ("In", "NotIn"),
}
_KEYS = {
    "tolerations": ("key", "operator", "value", "effect", "tolerationSeconds"),
    "affinity": ("nodeAffinity", "podAffinity", "podAntiAffinity"),
}
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def check(manifest: Mapping[str, Any]) -> None:
    """`ContextError` that lists what the API would refuse."""
    if found := problems(manifest):
        raise ContextError("\n".join(f"--on kubernetes: {manifest.get('kind')}: {problem}" for problem in found))


def problems(manifest: Mapping[str, Any]) -> list[str]:
    """Sentences, in the order of the manifest; empty where it is in order."""
    return [text for path, value in _walk(manifest, ()) for text in _of_value(path, value)]


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value with the names that lead to it; places in lists are left out."""
    yield path, value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _walk(inner, path)


def _of_value(path: tuple[str, ...], value: Any) -> Iterator[str]:
    if not path:
        return
    last = path[-1]
    where = ".".join(path)
    if allowed := _words_at(path):
        if not isinstance(value, str) or value not in allowed:
            hint = did_you_mean(str(value), allowed)
            yield f"{where}: found {value!r}{hint}, allowed: {', '.join(word or 'nothing' for word in allowed)}"
    elif last in _KEYS and isinstance(value, Mapping):
        for key in value:
            if key not in _KEYS[last]:
                hint = did_you_mean(str(key), _KEYS[last])
                yield f"{where}: unknown key {key!r}{hint}; allowed: {', '.join(_KEYS[last])}"
        yield from _toleration(where, value) if last == "tolerations" else ()
    elif last in ("labels", "matchLabels", "nodeSelector") and isinstance(value, Mapping):
        yield from _labels(where, value)
    elif last == "env" and isinstance(value, Mapping) and not _VARIABLE.fullmatch(str(value.get("name"))):
        yield f"{where}: found {value.get('name')!r}, allowed: a variable's name (letters, digits, '_', '-', '.')"


def _words_at(path: tuple[str, ...]) -> tuple[str, ...]:
    ends = (path[start:] for start in range(len(path)))
    return next((WORDS[end] for end in ends if end in WORDS), ())


def _toleration(where: str, value: Mapping[str, Any]) -> Iterator[str]:
    if value.get("operator") == "Exists" and value.get("value"):
        yield f"{where}: found a value beside operator Exists; leave one out"
    if "tolerationSeconds" in value and value.get("effect") != "NoExecute":
        yield f"{where}: found tolerationSeconds beside effect {value.get('effect')!r}, allowed: beside NoExecute"
    if not value.get("key") and value.get("operator") != "Exists":
        yield f"{where}: found no key; allowed: with operator Exists alone, which tolerates everything"


def _labels(where: str, value: Mapping[str, Any]) -> Iterator[str]:
    for key, word in value.items():
        if not _LABEL_KEY.fullmatch(str(key)):
            yield f"{where}: found the key {key!r}, allowed: [PREFIX/]NAME of letters, digits, '-', '_', '.'"
        if not isinstance(word, str) or not _LABEL.fullmatch(word):
            yield f"{where}.{key}: found {word!r}, allowed: at most 63 letters, digits, '-', '_', '.'"
