"""What Azure's Resource Manager, its run history and its storage answer, kept in memory."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

PROVIDER = "Microsoft.MachineLearningServices"
WORKSPACE = f"/subscriptions/sub-1/resourceGroups/group-1/providers/{PROVIDER}/workspaces/ws-1"
CONFIG = {"subscription_id": "sub-1", "resource_group": "group-1", "workspace_name": "ws-1"}
ACCOUNT, CONTAINER = "storage1", "container1"
DATA = "https://eastus2.api.azureml.ms"


@dataclass(frozen=True, slots=True)
class Exchange:
    method: str
    host: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def raw(self) -> bytes:
        return repr((self.path, self.query, self.headers)).encode() + self.body


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class FakeAzure:
    """`faults` are given out first, each once, to the paths that end with their key."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.faults: list[tuple[str, Reply]] = []
        self.jobs: dict[str, Any] = {}
        self.assets: dict[str, Any] = {}
        self.connections: dict[str, Any] = {}
        self.blobs: dict[str, bytes] = {}
        self.blob_metadata: dict[str, dict[str, str]] = {}
        self.logs: dict[str, str] = {}
        self.status: dict[str, list[str]] = {}
        self.location = "eastus2"
        self.port = 0

    def sent(self, method: str, ending: str) -> list[Exchange]:
        return [e for e in self.exchanges if e.method == method and e.path.endswith(ending)]

    def answer(self, method: str, host: str, path: str, body: bytes) -> Reply:
        for index, (ending, reply) in enumerate(self.faults):
            if path.endswith(ending):
                del self.faults[index]
                return reply
        if host.endswith(".api.azureml.ms"):
            return self._data_plane(path)
        if not path.startswith(WORKSPACE):
            return not_found(path)
        parts = path.removeprefix(WORKSPACE).strip("/").split("/")
        match parts[0]:
            case "":
                return Reply(body=workspace(self.location))
            case "datastores":
                found = datastore()
                return Reply(body=found if len(parts) > 1 else {"value": [found]})
            case "jobs":
                return self._jobs(method, parts[1:], body)
            case "connections":
                return self._connections(method, parts[1:], body)
        return self._assets(method, parts, body)

    def _jobs(self, method: str, parts: list[str], body: bytes) -> Reply:
        match method, parts:
            case "GET", []:
                return Reply(body={"value": [self._job(name) for name in self.jobs]})
            case "PUT", [name]:
                self.jobs[name] = json.loads(body)["properties"]
                self.status.setdefault(name, ["NotStarted"])
                return Reply(201, self._job(name))
            case "GET", [name] if name in self.jobs:
                return Reply(body=self._job(name))
            case "POST", [name, "cancel"] if name in self.jobs:
                self.status[name] = ["CancelRequested", "CancelRequested", "Canceled"]
                return Reply(200)
        return not_found("/".join(parts))

    def _connections(self, method: str, parts: list[str], body: bytes) -> Reply:
        name = parts[0]
        if method == "PUT":
            self.connections[name] = json.loads(body)["properties"]
        if name not in self.connections:
            return not_found(name)
        known = self.connections[name]
        if parts[1:] != ["listsecrets"]:
            known = {key: value for key, value in known.items() if key != "credentials"}
        return Reply(body=envelope(f"connections/{name}", name, known))

    def _assets(self, method: str, parts: list[str], body: bytes) -> Reply:
        """models/NAME/versions/N and environments/NAME/versions/N."""
        place = "/".join(parts)
        if method == "PUT":
            self.assets[place] = json.loads(body)["properties"]
        if place in self.assets:
            return Reply(body=envelope(place, parts[-1], self.assets[place]))
        versions = [p for p in self.assets if p.startswith("/".join(parts[:2]) + "/")]
        match parts:
            case ["models"]:
                names = dict.fromkeys(p.split("/")[1] for p in self.assets if p[:7] == "models/")
                rows = [envelope(f"models/{n}", n, {"latestVersion": "1"}) for n in names]
                return Reply(body={"value": rows})
            case [_, _, "versions"] if versions:
                newest_first = sorted(versions, reverse=True)
                rows = [envelope(p, p.split("/")[3], self.assets[p]) for p in newest_first]
                return Reply(body={"value": rows})
            case [_, name] if versions:
                newest = max(int(p.split("/")[3]) for p in versions)
                known = {"latestVersion": str(newest), "nextVersion": str(newest + 1)}
                return Reply(body=envelope(place, name, known))
        return not_found(place)

    def _job(self, name: str) -> Any:
        studio = f"https://ml.azure.com/runs/{name}?wsid={WORKSPACE}"
        services = {"Studio": {"jobServiceType": "Studio", "endpoint": studio}}
        known = {**self.jobs[name], "status": self._state(name), "services": services}
        return envelope(f"jobs/{name}", name, known)

    def _state(self, name: str) -> str:
        """One state a time that it is asked for, which the SDK does twice; the last one stays."""
        states = self.status[name]
        return states.pop(0) if len(states) > 1 else states[0]

    def _data_plane(self, path: str) -> Reply:
        """Discovery, the tokens of a compute's identity, logs, and the run history."""
        if path == "/discovery":
            return Reply(body={"history": DATA, "api": DATA})
        if path == "/identity":
            ends = str(int(time.time()) + 3600)
            token = {"access_token": "of the compute", "expires_on": ends, "token_type": "Bearer"}
            return Reply(body=token)
        if path.startswith("/log/"):
            return Reply(body=self.logs[path.removeprefix("/log/")])
        name = path.rstrip("/").removesuffix("/details").rpartition("/")[2]
        state = self._state(name)
        failure = {"error": {"code": "UserError", "message": "the GPU ran out of memory"}}
        return Reply(
            body={
                "runId": name,
                "status": state,
                "logFiles": {key: f"{DATA}/log/{key}" for key in self.logs},
                "error": failure if state == "Failed" else None,
            }
        )

    def blob(self, method: str, path: str, query: Any, headers: Any, body: bytes) -> Reply:
        name = unquote(path).removeprefix(f"/{CONTAINER}").lstrip("/")
        if method == "GET" and query.get("comp") == ["list"]:
            return Reply(body=self._blob_list(query.get("prefix", [""])[0]))
        if method == "PUT" and query.get("comp") == ["metadata"]:
            kept = {k[10:]: v for k, v in headers.items() if k.lower().startswith("x-ms-meta-")}
            self.blob_metadata[name] = kept
            return Reply(200, headers=_STAMP)
        if method == "PUT":
            self.blobs[name] = body
            return Reply(201, headers=_STAMP)
        if name not in self.blobs:
            return Reply(404, headers={"x-ms-error-code": "BlobNotFound"})
        known = {f"x-ms-meta-{k}": v for k, v in self.blob_metadata.get(name, {}).items()}
        size = len(self.blobs[name])
        if not size and headers.get("x-ms-range"):
            return Reply(416, headers={"x-ms-error-code": "InvalidRange"})
        span = {"Content-Range": f"bytes 0-{size - 1}/{size}"} if size else {}
        typed = {"x-ms-blob-type": "BlockBlob", "x-ms-lease-status": "unlocked"}
        status = 206 if method == "GET" and size else 200
        return Reply(status, self.blobs[name], {**_STAMP, **known, **span, **typed})

    def _blob_list(self, prefix: str) -> bytes:
        rows = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>{len(data)}"
            "</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name, data in self.blobs.items()
            if name.startswith(prefix)
        )
        return (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults>'
            f"<Prefix>{escape(prefix)}</Prefix><Blobs>{rows}</Blobs><NextMarker/></EnumerationResults>"
        ).encode()


_STAMP = {
    "ETag": '"0x1"',
    "Last-Modified": formatdate(0, usegmt=True),
    "x-ms-version": "2024-01-01",
}


def envelope(place: str, name: str, properties: Any) -> Any:
    return {
        "id": f"{WORKSPACE}/{place.strip('/')}",
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces",
        "properties": properties,
        "systemData": {"createdAt": "2026-11-28T10:00:00Z", "createdBy": "somebody"},
    }


def not_found(what: str) -> Reply:
    error = {"error": {"code": "UserError", "message": f"{what} was not found"}}
    return Reply(404, error)


def workspace(location: str) -> Any:
    body = envelope(
        "",
        "ws-1",
        {"discoveryUrl": "https://eastus2.api.azureml.ms/discovery", "workspaceId": "w-1"},
    )
    return {**body, "id": WORKSPACE, "location": location, "kind": "Default"}


def datastore() -> Any:
    properties = {
        "datastoreType": "AzureBlob",
        "accountName": ACCOUNT,
        "containerName": CONTAINER,
        "credentials": {"credentialsType": "None"},
        "isDefault": True,
        "endpoint": "core.windows.net",
        "protocol": "https",
    }
    return envelope("datastores/workspaceblobstore", "workspaceblobstore", properties)
