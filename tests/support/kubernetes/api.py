"""A small client of the Kubernetes API for tests: objects are dictionaries, paths are found by kind.

Belongs here: asking. Does not belong here: starting what is asked (``control_plane``). A newcomer would get wrong: right after a start the
server may refuse (403) what it will allow a moment later, and right after a CRD it may answer 429; both are asked again here, a refusal
only while the server is new.
"""

import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx
import msgspec
import yaml

from tests.support.instance import wait_until

Object = dict[str, Any]
MANAGER = "tests"
_DEADLINE_S = 60.0
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class Refused(Exception):
    """The server said no: its ``code``, ``reason`` and ``message``, and the ``causes`` one by one."""

    def __init__(self, status: Mapping[str, Any], code: int) -> None:
        self.code = code
        self.reason = str(status.get("reason", ""))
        self.message = str(status.get("message", ""))
        self.causes: Sequence[Mapping[str, str]] = (status.get("details") or {}).get("causes") or []
        super().__init__(f"{code} {self.reason}: {self.message}")


class Api:
    """A client of one server with one credential; a context manager that closes its connections."""

    def __init__(self, server: str, tls: ssl.SSLContext, *, token: str = "") -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=server, verify=tls, timeout=_DEADLINE_S, headers=headers, trust_env=False)
        self._paths: dict[tuple[str, str], tuple[str, bool]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, body: object = None, *, media_type: str = "application/json", **query: str) -> Any:
        """The answer to one request.

        Raises:
            Refused: the server says no. httpx.HTTPError: it does not answer.
        """
        content = None if body is None else msgspec.json.encode(body)
        answer = self._http.request(method, path, content=content, params=query, headers={"content-type": media_type})
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            assert wait_until(lambda: self._http.get("/readyz").is_success, seconds=_DEADLINE_S)
            answer = self._http.request(method, path, content=content, params=query, headers={"content-type": media_type})
        if answer.is_success:
            return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer.text
        raise Refused(_status(answer), answer.status_code)

    def get(self, kind: str, name: str, namespace: str = "", *, version: str = "v1") -> Object:
        """One object."""
        found: Object = self.call("GET", self._path(version, kind, name, namespace))
        return found

    def items(self, kind: str, namespace: str = "", *, version: str = "v1", **query: str) -> list[Object]:
        """Every object of a kind, in *namespace* or in all."""
        found: list[Object] = self.call("GET", self._path(version, kind, "", namespace), **query)["items"]
        return found

    def exists(self, kind: str, name: str, namespace: str = "", *, version: str = "v1") -> bool:
        """Whether there is one."""
        try:
            self.get(kind, name, namespace, version=version)
        except Refused as refused:
            if refused.code == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def create(self, document: Object, *, namespace: str = "", **query: str) -> Object:
        """Create an object; *query*: ``dryRun="All"``, ``fieldValidation="Strict"``."""
        place = self._path(document["apiVersion"], document["kind"], "", namespace or document["metadata"].get("namespace", ""))
        made: Object = self.call("POST", place, document, **query)
        return made

    def apply(self, document: Object, *, namespace: str = "", manager: str = MANAGER, subresource: str = "", **query: str) -> Object:
        """Server-side apply."""
        metadata = document["metadata"]
        place = self._path(document["apiVersion"], document["kind"], metadata["name"], namespace or metadata.get("namespace", ""))
        place += f"/{subresource}" if subresource else ""
        made: Object = self.call("PATCH", place, document, media_type=_APPLY, fieldManager=manager, force="true", **query)
        return made

    def patch(
        self, kind: str, name: str, change: Object, namespace: str = "", *, version: str = "v1", subresource: str = "", **query: str
    ) -> Object:
        """A merge patch."""
        place = self._path(version, kind, name, namespace) + (f"/{subresource}" if subresource else "")
        made: Object = self.call("PATCH", place, change, media_type=_MERGE, **query)
        return made

    def delete(self, kind: str, name: str, namespace: str = "", *, version: str = "v1", **query: str) -> None:
        """Delete an object; its finalizers may keep it."""
        self.call("DELETE", self._path(version, kind, name, namespace), **query)

    def clear_away(self, namespace: str) -> None:
        """Delete a namespace, if there is one, and return once it is gone with all that was in it."""
        if self.exists("Namespace", namespace):
            self.delete("Namespace", namespace)
        gone = wait_until(lambda: not self.exists("Namespace", namespace), seconds=_DEADLINE_S)
        assert gone, self.get("Namespace", namespace)["status"]

    def install(self, crds: Sequence[Object]) -> None:
        """Apply CRDs and return once their kinds are served."""
        for crd in crds:
            self.apply(crd)
        for crd in crds:
            name = crd["metadata"]["name"]
            assert wait_until(lambda name=name: self._established(name), seconds=_DEADLINE_S), name  # type: ignore[misc]
        self._paths.clear()

    def _established(self, name: str) -> bool:
        crd = self.get("CustomResourceDefinition", name, version="apiextensions.k8s.io/v1")
        conditions = crd.get("status", {}).get("conditions", [])
        if not any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            return False
        try:
            self.items(crd["spec"]["names"]["kind"], version=f"{crd['spec']['group']}/{crd['spec']['versions'][0]['name']}")
        except Refused:
            return False
        return True

    def _path(self, version: str, kind: str, name: str, namespace: str) -> str:
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if (version, kind) not in self._paths:
            for one in self.call("GET", root)["resources"]:
                if "/" not in one["name"]:
                    self._paths[version, one["kind"]] = (one["name"], one["namespaced"])
        if (version, kind) not in self._paths:
            raise Refused({"reason": "NotFound", "message": f"no kind {kind} in {version}"}, 404)
        plural, namespaced = self._paths[version, kind]
        middle = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return f"{root}{middle}/{plural}" + (f"/{name}" if name else "")


def documents(text: str) -> list[Object]:
    """The objects of a YAML file."""
    return [one for one in yaml.safe_load_all(text) if one is not None]


def _status(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": answer.text}
