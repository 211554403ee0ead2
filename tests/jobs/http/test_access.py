"""Every route of the application itself, against everybody who may not call it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from starlette.routing import Route

from mwalimu.jobs.http.access import OPEN, ROLES, GuardedRoute
from mwalimu.jobs.http.app import create_app
from mwalimu.jobs.records import Role
from tests.figures import record
from tests.jobs.service import Running, running

LOWER = {
    Role.VIEWER: [],
    Role.SUBMITTER: [Role.VIEWER],
    Role.ADMIN: [Role.VIEWER, Role.SUBMITTER],
}


def operations(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path template) of whatever answers at all."""
    found = []
    for route in app.routes:
        assert isinstance(route, Route | APIRoute), f"{route} is no plain route"
        found += [(method, route.path) for method in route.methods or ()]
    return found


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)(:path)?\}", lambda name: "1" if name[1] == "version" else "any", path)


@pytest.fixture(scope="module")
def anybody(service: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.url) as client:
        yield client


@pytest.fixture(scope="module")
def expired(service: Running) -> str:
    token = service.service.tokens.make("late", Role.ADMIN, expires=time.time() + 0.05)
    time.sleep(0.1)
    return token


def attempts(
    service: Running, anybody: httpx2.Client, expired: str, method: str, path: str
) -> Iterator[tuple[str, Any]]:
    """(who, the answer), of all who may not."""
    admin = {"Authorization": f"Bearer {service.tokens[Role.ADMIN]}"}
    host = service.url.removeprefix("http://")

    def ask(**headers: str | bytes) -> httpx2.Response:
        body = b"{}" if method in ("POST", "PUT") else None
        sent = {"Content-Type": "application/json"} | headers
        return anybody.request(method, filled(path), headers=sent, content=body)

    if (method, path) not in OPEN:
        yield "no token", ask()
        yield "no scheme", ask(Authorization=service.tokens[Role.ADMIN])
        yield "another scheme", ask(Authorization=f"Basic {service.tokens[Role.ADMIN]}")
        yield "bad token", ask(Authorization="Bearer mw_" + "A" * 43)
        yield "a digest", ask(Authorization="Bearer " + "0" * 64)
        yield "no ASCII", ask(Authorization="Bearer \u00e9".encode())
        yield "expired", ask(Authorization=f"Bearer {expired}")
        for role in LOWER[ROLES[method, path]]:
            yield role, ask(Authorization=f"Bearer {service.tokens[role]}")
    for origin in (
        "https://evil.example",
        "null",
        f"http://{host}.evil.example",
        "http://localhost:1",
    ):
        yield f"origin {origin}", ask(Origin=origin, **admin)
    for name in ("evil.example", f"{host}.evil.example", "127.0.0.1.evil.example", "", "[::"):
        yield f"host {name}", ask(Host=name, **admin)


def test_every_operation_of_the_application_is_refused_to_whoever_may_not(
    service: Running, anybody: httpx2.Client, expired: str
) -> None:
    refused, app = 0, create_app(service.service)
    for method, path in operations(app):
        for who, answer in attempts(service, anybody, expired, method, path):
            foreign = who.startswith(("origin", "host")) or who in list(Role)
            # h11 itself has no ear for a request without a host.
            wanted = {403} if foreign else {401}
            wanted |= {400} if who in ("host ", "host [::") else set()
            assert answer.status_code in wanted, f"{method} {path} lets {who} in: {answer.text}"
            assert answer.status_code == 400 or set(answer.json()) == {"error"}
            refused += 1
    assert refused > 500
    record("R19", "routes x who may not", tried=refused)
    assert {(m, p) for m, p in operations(app)} == OPEN | set(ROLES)


def test_who_may_is_let_in(service: Running, anybody: httpx2.Client) -> None:
    """The matrix proves nothing of a service that refuses everybody."""
    for (method, path), role in ROLES.items():
        if path in ("/v1/events",):
            continue
        headers = {"Authorization": f"Bearer {service.tokens[role]}", "Origin": service.url}
        answer = anybody.request(method, filled(path), headers=headers)
        assert answer.status_code not in (401, 403), f"{method} {path}: {answer.text}"


def test_strangers_are_told_nothing_of_what_there_is(service: Running) -> None:
    paths = ("/v1/jobs", "/v1/jobs/none", "/v1/nothing", "/docs", "/openapi.json", "/v1/jobs/x/y")
    answers = [httpx2.get(service.url + path) for path in paths]
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1


def test_a_route_that_no_table_names_cannot_be_made() -> None:
    def nobody() -> Response:
        return Response()

    with pytest.raises(KeyError):
        GuardedRoute("/v1/new", nobody, methods=["GET"])


def test_every_route_is_guarded(service: Running) -> None:
    assert all(isinstance(route, GuardedRoute) for route in create_app(service.service).routes)


def test_a_revoked_token_ends_with_the_next_request(service: Running) -> None:
    token = service.service.tokens.make("brief", Role.VIEWER)
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx2.get(service.url + "/v1/me", headers=headers).json()["name"] == "brief"
    service.service.tokens.revoke("brief")
    assert httpx2.get(service.url + "/v1/me", headers=headers).status_code == 401


def test_what_is_somebody_elses_is_not_changed(service: Running) -> None:
    other = service.service.tokens.make("olga", Role.SUBMITTER)
    headers = {"Authorization": f"Bearer {other}"}
    config = {
        "task": "generic",
        "prompts": {"method": "self_instruct", "rows": 1, "topics": ["tea"]},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    with service.client() as sam, httpx2.Client(base_url=service.url, headers=headers) as olga:
        job = sam.post("/v1/jobs", json={"config": config}).json()["name"]
        rows = b'{"prompt": "a", "completion": "b"}\n'
        assert sam.put("/v1/datasets/sams", content=rows).status_code == 201
        for method, path in [
            ("POST", f"/v1/jobs/{job}/cancel"),
            ("POST", f"/v1/jobs/{job}/pause"),
            ("POST", f"/v1/jobs/{job}/resume"),
            ("DELETE", f"/v1/jobs/{job}"),
            ("DELETE", "/v1/datasets/sams"),
        ]:
            assert olga.request(method, path).status_code == 403, path
        assert olga.post("/v1/models", json={"name": "m", "job": job}).status_code == 403
        assert olga.put("/v1/datasets/sams", content=rows).status_code == 409
        assert sam.get(f"/v1/jobs/{job}").json()["state"] == "Queued"
        with service.client(Role.ADMIN) as admin:
            assert admin.post(f"/v1/jobs/{job}/cancel").json()["state"] == "Canceled"


def test_every_change_is_in_the_audit(service: Running) -> None:
    with service.client(Role.ADMIN) as admin, service.client(Role.VIEWER) as viewer:
        before = service.service.audit.entries(limit=1_000_000)[-1].number
        admin.post("/v1/tokens", json={"name": "seen", "role": "viewer"})
        viewer.delete("/v1/tokens/seen")
        viewer.get("/v1/me")
        httpx2.delete(service.url + "/v1/tokens/seen")
        admin.delete("/v1/tokens/seen")
        entries = admin.get("/v1/audit", params={"after": before}).json()["entries"]
    assert [(e["who"], e["what"], e["on"], e["status"]) for e in entries] == [
        ("ada", "POST /v1/tokens", "seen", 201),
        ("vera", "DELETE /v1/tokens/{name}", "seen", 403),
        ("ada", "DELETE /v1/tokens/{name}", "seen", 204),
    ]
    assert all(e["address"] == "127.0.0.1" for e in entries)


def test_no_token_is_in_any_file_of_the_workspace(service: Running) -> None:
    files = [p for p in service.service.workspace.root.rglob("*") if p.is_file()]
    assert files
    for token in service.tokens.values():
        assert not any(token.encode() in file.read_bytes() for file in files)


def test_answers_carry_what_a_browser_needs_to_be_safe(service: Running) -> None:
    answers = [httpx2.get(service.url + path) for path in ("/health", "/", "/v1/jobs", "/nothing")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
    assert answers[0].headers["cache-control"] == "no-store"


def test_other_hosts_are_let_in_by_setting(tmp_path: Path) -> None:
    from mwalimu.jobs.settings import DEFAULTS

    settings = DEFAULTS.model_copy(update={"allowed_hosts": ("jobs.example",)})
    with running(tmp_path, settings=settings) as named:
        for host, status in (("jobs.example", 200), ("jobs.example:8600", 200), ("x.example", 403)):
            answer = httpx2.get(named.url + "/health", headers={"Host": host})
            assert answer.status_code == status, host
        headers = {"Host": "jobs.example", "Origin": "https://jobs.example"}
        assert httpx2.get(named.url + "/health", headers=headers).status_code == 200
