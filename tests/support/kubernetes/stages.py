"""What kwok does with pods: they run at once, pods of Jobs and of Helm's hooks end well, and an annotation asks for another end.

Belongs here: the stages, and what ``kubectl logs`` answers. Does not belong here: nodes; kwok knows by itself how one becomes Ready. A
newcomer would get wrong: stages that are given take the place of kwok's own of the same kind, so all of a pod's life has to be here.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ANNOTATION = "kalends.dev/pod"
"""On a pod: ``fail`` (it ends with status 1), ``run`` (it never ends), ``unready`` (it runs and is never ready), ``pending``."""

_LOG = "2026-01-01T00:00:00.000000000Z stdout F a simulated pod\n"

_STARTED = """\
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName (or .spec.hostNetwork false) .metadata.uid .metadata.name .metadata.namespace | Quote }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "READY", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "READY", lastTransitionTime: {{ $now | Quote }}}
{{ range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: IS_READY
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
{{ if eq .restartPolicy "Always" }}
  started: true
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ else }}
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
{{ end }}
"""

_ENDED = """\
{{ $now := Now }}
phase: PHASE
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  started: false
  restartCount: 0
  state: {terminated: {exitCode: CODE, reason: REASON, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
"""

_ASKED = f'.metadata.annotations["{ANNOTATION}"]'


def write(folder: Path) -> Path:
    """Write kwok's configuration; the file."""
    log = folder / "pod.log"
    log.write_text(_LOG, encoding="utf-8")
    answer = {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs", "metadata": {"name": "all"}}
    documents = [*_stages(), {**answer, "spec": {"logs": [{"logsFile": str(log)}]}}]
    path = folder / "kwok.yaml"
    path.write_text("\n---\n".join(json.dumps(document, indent=1) for document in documents), encoding="utf-8")
    return path


def _stages() -> Sequence[Mapping[str, Any]]:
    alive = _where(".metadata.deletionTimestamp", "DoesNotExist")
    new = (alive, _where(".status.podIP", "DoesNotExist"))
    running = (alive, _where(".status.phase", "In", "Running"))
    completes = (*running, _where(_ASKED, "NotIn", "fail", "run", "unready"))
    ended = _ENDED.replace("PHASE", "Succeeded").replace("CODE", "0").replace("REASON", "Completed")
    failed = _ENDED.replace("PHASE", "Failed").replace("CODE", "1").replace("REASON", "Error")
    return (
        _stage("pod-starts", (*new, _where(_ASKED, "NotIn", "pending", "unready")), _started(ready=True)),
        _stage("pod-starts-unready", (*new, _where(_ASKED, "In", "unready")), _started(ready=False)),
        _stage("pod-of-a-job-ends", (*completes, _where(".metadata.ownerReferences.[].kind", "In", "Job")), ended),
        _stage("pod-of-a-hook-ends", (*completes, _where('.metadata.annotations["helm.sh/hook"]', "Exists")), ended),
        _stage("pod-fails", (*running, _where(_ASKED, "In", "fail")), failed),
        _stage("pod-goes", (_where(".metadata.deletionTimestamp", "Exists"),), finalizers={"empty": True}, delete=True),
    )


def _started(*, ready: bool) -> str:
    return _STARTED.replace("IS_READY", str(ready).lower()).replace("READY", str(ready))


def _where(key: str, operator: str, *values: str) -> Mapping[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def _stage(name: str, selector: Sequence[Mapping[str, Any]], template: str = "", **then: Any) -> Mapping[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": list(selector)},
            "next": {"statusTemplate": template, **then} if template else then,
        },
    }
