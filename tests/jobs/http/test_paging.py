"""A `limit` is the same wherever one is taken, and a bad one is a problem like any other."""

from __future__ import annotations

import pytest

from mwalimu.jobs.paging import LONGEST_PAGE, PAGE, SAMPLES
from mwalimu.jobs.records import Role
from tests.jobs.dashboard import seeding
from tests.jobs.service import Running


@pytest.fixture(scope="module")
def limited(service: Running) -> list[str]:
    """The paths of the document that take one."""
    seeding.queued(service.service, "listed", "a job")
    with service.client(Role.ADMIN) as admin:
        paths = admin.get("/v1/openapi.json").json()["paths"]
    found = []
    for path, operations in paths.items():
        for one in operations.get("get", {}).get("parameters", []):
            if one["name"] == "limit":
                default = SAMPLES if path.endswith("/samples") else PAGE
                bounds = {key: one["schema"][key] for key in ("minimum", "maximum", "default")}
                assert bounds == {"minimum": 1, "maximum": LONGEST_PAGE, "default": default}
                found.append(path.format(job="listed"))
    return found


def test_every_list_has_the_same_bounds(service: Running, limited: list[str]) -> None:
    assert sorted(limited) == ["/v1/audit", "/v1/jobs", "/v1/jobs/listed/samples"]
    with service.client(Role.ADMIN) as admin:
        for path in limited:
            for good in (1, LONGEST_PAGE):
                assert admin.get(path, params={"limit": good}).status_code == 200, path
            for bad in ("0", "-1", str(LONGEST_PAGE + 1), "1e3", "ten", ""):
                told = admin.get(path, params={"limit": bad})
                assert told.status_code == 400, (path, bad)
                error = told.json()["error"]
                assert (error["code"], error["where"]) == ("not_valid", "limit")
