"""The files that Kubernetes is given, as text."""

from __future__ import annotations

from typing import Any

from madrun.backends.kubernetes.checks import check
from madrun.backends.kubernetes.manifests import manifests
from madrun.backends.kubernetes.names import LABEL, Names, names_of
from madrun.backends.kubernetes.payload import Payload, payload_of, payload_text, pod_files
from madrun.backends.kubernetes.pods import needs_of
from madrun.backends.kubernetes.settings import KubernetesSettings
from madrun.backends.launchfolder import PRIVATE_NAME, files_of
from madrun.spec.launch import PRIVATE, Launch

OBJECTS = "kubernetes.yaml"
PAYLOADS = {"ConfigMap": "payload.json", "Secret": f"{PRIVATE_NAME}payload.json"}
_HEAD = """# Launch {id}. madrun run --on kubernetes makes these objects; by hand, in this folder:
#   kubectl{where} create secret generic {name} --from-file={private}
#   kubectl{where} label secret {name} {label}={name}
{carry}#   kubectl{where} create -f {objects}
#   kubectl{where} logs -f -l {label}={name} --prefix --max-log-requests {nnodes}
#   kubectl{where} delete {kind},service,configmap,secret -l {label}={name}
"""


def render(launch: Launch, settings: KubernetesSettings) -> dict[str, str]:
    """`kubernetes.yaml`, and more where something is carried.

    `ContextError` for an image or a number of GPUs that nobody said, `UsageError` for what is too large.
    """
    return render_with(launch, settings, payload_of(launch, settings))


def render_with(launch: Launch, settings: KubernetesSettings, payload: Payload) -> dict[str, str]:
    """The same with what is carried given: pure."""
    names = names_of(launch.id, launch.nnodes, settings.jobset)
    files = {**files_of(launch), **pod_files(launch, settings, names, payload)}
    objects = manifests(launch, settings, names, files, needs_of(launch, settings, payload.parts))
    for one in objects:
        check(one)
    texts = {file: payload_text(settings, names, payload, kind) for kind, file in PAYLOADS.items()}
    carried = {file: text for file, text in texts.items() if text}
    head = _HEAD.format(
        id=launch.id,
        where=_where(settings),
        name=names.job,
        private=PRIVATE,
        label=LABEL,
        objects=OBJECTS,
        carry="".join(f"#   kubectl{_where(settings)} create -f {file}\n" for file in carried),
        nnodes=launch.nnodes,
        kind="jobset" if settings.jobset else "job",
    )
    return {OBJECTS: head + _yaml(objects), **carried}


def _where(settings: KubernetesSettings) -> str:
    flags = {"--context": settings.kube_context, "-n": settings.namespace}
    return "".join(f" {flag} {value}" for flag, value in flags.items() if value)


def _yaml(objects: list[dict[str, Any]]) -> str:
    """Texts of several lines as blocks, to be read."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, width=1000, explicit_start=True)


def load(text: str) -> list[dict[str, Any]]:
    """The objects of a rendered file."""
    import yaml

    return [one for one in yaml.safe_load_all(text) if one]


__all__ = ["Names", "load", "render", "render_with"]
