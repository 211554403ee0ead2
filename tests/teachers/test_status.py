"""Every status and error body, and the one exception that it means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest

from mwalimu.errors import (
    MwalimuError,
    TeacherError,
    TeacherRefusesKey,
    UnknownTeacherModel,
)
from mwalimu.teachers.base import RateLimits, RowError, TransientError, Window
from mwalimu.teachers.http import HttpReply
from mwalimu.teachers.status import Place, clean, judge, public_url, retry_after_s

KEY = "sk-canary-0123456789"
PLACE = Place("https://host/v1/chat/completions", "m", "MY_KEY", secrets=(KEY,))
LIMITS = RateLimits(requests=Window(60.0, 0.0, 1.0))


def raised(
    status: int, body: object = None, headers: dict[str, str] | None = None, place: Place = PLACE
) -> Exception:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    with pytest.raises((MwalimuError, RowError, TransientError)) as caught:
        judge(HttpReply(status, headers or {}, raw), place, LIMITS)
    assert KEY not in f"{caught.value!s}{caught.value!r}{vars(caught.value)!r}"
    return caught.value


def error(message: str = "", **more: object) -> dict[str, object]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_row_that_cannot_succeed(status: int) -> None:
    problem = raised(status, error("too   long\n for the context"))
    assert type(problem) is RowError
    assert str(problem) == f"HTTP {status}: too long for the context"


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "why"}},
        {"error": "why"},
        {"message": "why"},
        {"detail": "why"},
        {"object": "error", "message": "why", "code": 400},
        {"type": "error", "error": {"type": "invalid_request_error", "message": "why"}},
        [{"error": {"code": 400, "message": "why"}}],
        {"statusCode": 400, "message": "why"},
    ],
)
def test_a_servers_words_are_found_in_every_shape(body: object) -> None:
    assert str(raised(400, body)) == "HTTP 400: why"


def test_a_list_of_details_is_shown_too() -> None:
    assert "field required" in str(raised(422, {"detail": [{"msg": "field required"}]}))


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"\xff\xfe", b"null", b"[]", b"3"])
@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 404, 413, 418, 429, 500, 599])
def test_no_body_is_needed_for_a_verdict(status: int, body: bytes) -> None:
    assert str(raised(status, body))


def test_messages_are_short_printable_and_hold_no_key() -> None:
    long = raised(400, error("x" * 190 + KEY + "y" * 100))  # the cut goes through the key
    assert str(long) == "HTTP 400: " + "x" * 190 + "[key]" + "y" * 5
    hostile = raised(400, error("a\x1b[31mred\x07 \u202e" + f" {KEY}"))
    assert str(hostile) == "HTTP 400: a [31mred [key]"
    assert KEY not in repr(PLACE)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_variable(status: int) -> None:
    refused = raised(status, error(f"Incorrect API key: {KEY}"))
    assert isinstance(refused, TeacherRefusesKey) and refused.exit_code == 4
    assert f"answered HTTP {status}: the key in $MY_KEY was refused" in str(refused)
    assert "Incorrect" not in str(refused) or status == 403
    keyless = raised(status, place=Place("https://host", "m", None))
    assert "no key was sent" in str(keyless) and "teacher.api_key_env" in str(keyless)


def test_a_403_says_what_is_not_allowed() -> None:
    assert "your region" in str(raised(403, error("not available in your region")))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, None),
        (402, error("Insufficient Balance", type="unknown_error", code="invalid_request_error")),
        (429, error("You exceeded your current quota", code="insufficient_quota")),
        (429, error("quota", type="insufficient_quota", code=None)),
        (429, error("Billing hard limit", code="billing_hard_limit_reached")),
        (429, error("spend", type="x", details={"error_code": "enforced_spend_limit_reached"})),
        (400, error("Your credit balance is too low to access the Anthropic API.", type="x")),
        (403, error("Your account is not active", type="billing_not_active")),
    ],
)
def test_no_credit_stops_the_run(status: int, body: object) -> None:
    """Every further row would fail the same way; the rows are not to blame."""
    fatal = raised(status, body)
    assert type(fatal) is TeacherError and "no credit" in str(fatal)


def test_a_row_about_credit_is_not_mistaken_for_it() -> None:
    assert isinstance(raised(400, error("bad: 'Your credit balance is too low'")), RowError)


def test_an_unknown_model() -> None:
    unknown = raised(404, error("The model `m` does not exist", code="model_not_found"))
    assert isinstance(unknown, UnknownTeacherModel)
    assert str(unknown) == (
        "https://host/v1/chat/completions: answered HTTP 404 for 'm': "
        "The model `m` does not exist; mend teacher.model or teacher.base_url"
    )


@pytest.mark.parametrize(
    "body",
    [
        error("filtered", code="content_filter", status=400),
        error("filtered", code=None, innererror={"code": "ResponsibleAIPolicyViolation"}),
        error("safety", code="content_policy_violation"),
    ],
)
def test_a_content_filters_400_is_an_outcome(body: object) -> None:
    judge(HttpReply(400, {}, orjson.dumps(body)), PLACE)


@pytest.mark.parametrize("status", [405, 406, 415, 418, 431, 451])
def test_other_refusals_stop_the_run(status: int) -> None:
    fatal = raised(status, error("no"))
    assert type(fatal) is TeacherError and f"HTTP {status}" in str(fatal)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_says_where_to_without_its_secrets(status: int) -> None:
    target = f"https://user:{KEY}@other.example/v1/chat?token={KEY}#x"
    fatal = raised(status, headers={"Location": target})
    assert type(fatal) is TeacherError
    assert "https://other.example/v1/chat" in str(fatal)
    assert "token" not in str(fatal) and "user" not in str(fatal)
    assert "nowhere" in str(raised(status))


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 524, 529, 599])
def test_what_may_succeed_later(status: int) -> None:
    later = raised(status, error("busy"), {"Retry-After": "7"})
    assert isinstance(later, TransientError)
    assert (later.reason, later.retry_after_s, later.limits) == (f"HTTP {status}", 7.0, LIMITS)
    assert later.rate_limited == (status == 429)
    assert later.overloaded == (status in (503, 529))
    assert later.ambiguous == (status in (408, 502, 504, 520, 524))


def test_anthropic_says_overloaded_in_the_body() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    later = raised(500, body)
    assert isinstance(later, TransientError) and later.overloaded


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!doctype html><title>Bad gateway</title>", "no chat answer"),
        (b'{"choices": [{"message": {"con', "no chat answer"),
        (b'{"a": "\xff\xfe"}', "no chat answer"),
        (b"null", "no chat answer"),
        (b"[]", "no chat answer"),
        (b"NaN", "no chat answer"),
        (b"{}", "no chat answer"),
        (b"[" * 100_000, "no chat answer"),
        (b'{"choices": []}', "no chat answer"),
        (orjson.dumps(error("upstream", code=502)), "an error in place of an answer"),
        (orjson.dumps({"error": "model is loading"}), "an error in place of an answer"),
    ],
)
def test_a_200_without_an_answer_may_have_been_paid(body: bytes, reason: str) -> None:
    later = raised(200, body)
    assert isinstance(later, TransientError) and later.ambiguous and reason in later.reason


@pytest.mark.parametrize(
    ("code", "rate_limited", "overloaded"),
    [(429, True, False), (503, False, True), (529, False, True), (502, False, False)],
)
def test_a_gateway_hides_a_status_in_a_200(code: int, rate_limited: bool, overloaded: bool) -> None:
    later = raised(200, error("upstream", code=code))
    assert isinstance(later, TransientError)
    assert (later.rate_limited, later.overloaded) == (rate_limited, overloaded)


def http_date(**ahead: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(**ahead), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("0.25", 0.25),
        (" 3 ", 3.0),
        ("1000000000", 3600.0),
        ("-5", 0.0),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e999", None),
        ("soon", None),
        ("in a minute or so", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": value}) == seconds


def test_retry_after_as_a_date_in_milliseconds_or_not_at_all() -> None:
    assert retry_after_s({"Retry-After": http_date(seconds=30)}) == pytest.approx(30, abs=2)
    assert retry_after_s({"Retry-After": http_date(days=3)}) == 3600.0
    assert retry_after_s({"retry-after-ms": "250", "Retry-After": "9"}) == 0.25
    assert retry_after_s({"retry-after-ms": "soon", "Retry-After": "9"}) == 9.0
    assert retry_after_s({}) is None


def test_retry_after_is_counted_by_the_servers_clock() -> None:
    headers = {
        "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
        "Retry-After": "Wed, 21 Oct 2015 07:28:09 GMT",
    }
    assert retry_after_s(headers) == 9.0


def test_addresses_are_shown_without_secrets() -> None:
    assert public_url("https://u:p@h:8/v1?key=s#f") == "https://h:8/v1"
    assert public_url("/login?key=s") == "/login"
    assert public_url("//u:p@h/x") == "//h/x"
    assert clean("a\n\tb   c") == "a b c"
