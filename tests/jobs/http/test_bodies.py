"""Bodies that are none, and texts that would be pages elsewhere: JSON is all that comes back."""

from __future__ import annotations

import json

import pytest

from tests.jobs.http.configs import GOOD, written
from tests.jobs.service import Running


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"config": {}}',
        b'{"config": []}',
        b"[" * 100_000,
        b'{"config": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        b'{"config": {"seed": 1e999}}',
        b'{"config": {"seed": NaN}}',
        b'{"config": {"seed": -Infinity}}',
        b'{"config": {"seed": ' + b"9" * 4000 + b"}}",
        b'{"config": {"seed": ' + b"9" * 5000 + b"}}",
        b'{"config": {"task": "\\ud800"}}',
        b'{"config": {"\\ud800": 1}}',
        b'{"config": {"task": "\\u0000"}}',
        b'{"config": {"task": "\xff"}}',
        b"\xff\xfe{\x00}\x00",
        b'{"config": {' + b",".join(b'"k%d": 1' % i for i in range(30_000)) + b"}}",
        b'{"config": {"' + b"k" * 500_000 + b'": [' + b"1," * 19_000 + b"1]}}",
        b'{"config": {"data": {"train": ["dataset:good"]}}}',
        b'{"config": {"__proto__": {"x": 1}, "constructor": {}}}',
        b'{"config": {"teacher": {"extra_body": {"__class__": "os.system"}}}}',
    ],
    ids=range(23),
)
def test_no_body_is_more_than_refused(guarded: Running, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    with guarded.client() as client:
        answer = client.post("/v1/jobs", content=body, headers=headers)
        assert answer.status_code == 400, answer.text[:300]
        assert set(answer.json()["error"]) == {"what", "where", "fix", "code"}
        assert len(answer.content) < 20_000
        assert client.get("/health").status_code == 200


def test_a_json_body_of_another_type_is_refused(guarded: Running) -> None:
    """What a form of a foreign page could send without asking first."""
    body = json.dumps({"config": GOOD}).encode()
    with guarded.client() as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            answer = client.post("/v1/jobs", content=body, headers={"Content-Type": kind})
            assert answer.status_code == 400, kind


def test_hostile_texts_come_back_as_json_and_nothing_else(guarded: Running) -> None:
    hostile = (
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "</script><svg/onload=alert(1)>",
        '"><iframe srcdoc="<script>alert(1)</script>">',
        "javascript:alert(1)",
        "{{7*7}}${7*7}<%= 7*7 %>",
        "\u2028alert(1)\u2029",
        "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    )
    with guarded.client() as client:
        for text in hostile:
            asked = {
                "config": GOOD,
                "display_name": text,
                "experiment_name": text,
                "tags": {text: text},
            }
            made = client.post("/v1/jobs", json=asked)
            assert made.status_code == 201
            assert made.json()["display_name"] == text and made.json()["tags"] == {text: text}
            bad = json.dumps({text: text}).encode() + b"\n" + text.encode()
            answers = [
                made,
                client.get(f"/v1/jobs/{made.json()['name']}"),
                client.get("/v1/jobs"),
                client.get("/v1/jobs", params={"owner": text}),
                client.get("/v1/jobs", params={"state": text}),
                client.post("/v1/jobs", json=asked | {"name": text}),
                client.post("/v1/jobs", json={"config": GOOD | {text: text}}),
                client.post("/v1/jobs", json=asked | {"config": written("data.train", text)}),
                client.put("/v1/datasets/hostile", content=bad),
            ]
            for answer in answers:
                assert answer.headers["content-type"] == "application/json"
                assert answer.headers["x-content-type-options"] == "nosniff"
                answer.json()
