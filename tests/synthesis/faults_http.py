"""Faults that are HTTP statuses, with the headers and bodies that real servers give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.synthesis.faults import BUSY, NOTHING, RETRY, UNSURE, Effect, fault, row, status, stop
from tests.synthesis.faulty_server import STRAY, Exchange

FAILED = row("failed", stored=False)
REFUSES_KEY = stop("TeacherRefusesKey")


def date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


status("bad_request_400", 400, FAILED)
status("bad_request_400_without_words", 400, FAILED, [])
status("bad_request_400_in_a_list", 400, FAILED, [{"error": {"message": "no", "code": 400}}])
status("bad_request_400_of_fastapi", 400, FAILED, {"detail": [{"loc": ["body"], "msg": "no"}]})
status("context_too_long_400", 400, FAILED, {"error": {"message": "too long " * 5000}})
status(
    "content_filter_400",
    400,
    row("filtered", stored=True, billed=False),
    {"error": {"message": "no", "code": "content_filter", "status": 400}},
)
status("unauthorized_401", 401, REFUSES_KEY)
status("no_credit_402", 402, stop())
status("forbidden_403", 403, REFUSES_KEY)
status("not_found_404", 404, stop("UnknownTeacherModel"))
status("method_405", 405, stop())
status("proxy_login_407", 407, stop())
status("timeout_408", 408, UNSURE)
status("conflict_409", 409, RETRY)
status("gone_410", 410, stop())
status("too_large_413", 413, FAILED)
status("media_type_415", 415, stop())
status("unprocessable_422", 422, FAILED)
status("too_early_425", 425, RETRY)
status("unavailable_for_legal_reasons_451", 451, stop())

status("rate_429", 429, BUSY)
status("rate_429_seconds", 429, BUSY, headers={"Retry-After": "1"}, slow=True)
status("rate_429_fraction", 429, BUSY, headers={"Retry-After": "0.05"})
status("rate_429_milliseconds", 429, BUSY, headers={"retry-after-ms": "50", "Retry-After": "60"})
status("rate_429_zero", 429, BUSY, headers={"Retry-After": "0"})
status("rate_429_date", 429, BUSY, headers=lambda _: {"Retry-After": date(1)}, slow=True)
status("rate_429_past", 429, BUSY, headers=lambda _: {"Retry-After": date(-1e6)})
status("rate_429_negative", 429, BUSY, headers={"Retry-After": "-5"})
status("rate_429_garbage", 429, BUSY, headers={"Retry-After": "soon; 1e5, \xb5"})
status("rate_429_nan", 429, BUSY, headers={"Retry-After": "nan"})
status("rate_429_no_such_day", 429, BUSY, headers={"Retry-After": "Mon, 99 Zzz 99999 25:61:61"})
status(
    "rate_429_odd_limits",
    429,
    BUSY,
    headers={
        "x-ratelimit-limit-requests": "-1",
        "x-ratelimit-remaining-requests": "many",
        "x-ratelimit-reset-requests": "1e999s",
        "x-ratelimit-limit-tokens": "0",
    },
)
status(
    "quota_429",
    429,
    stop(),
    {"error": {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}},
)

status("internal_500", 500, RETRY)
status("internal_500_in_html", 500, RETRY, "<html>oops</html>")
status("not_implemented_501", 501, RETRY)
status("bad_gateway_502", 502, UNSURE)
status("unavailable_503", 503, BUSY)
status("unavailable_503_fraction", 503, BUSY, headers={"Retry-After": "0.05"})
status("gateway_timeout_504", 504, UNSURE)
status("version_505", 505, RETRY)
status("unknown_520", 520, UNSURE)
status("origin_timeout_524", 524, UNSURE)
status("overloaded_529", 529, BUSY)
status(
    "overloaded_500", 500, BUSY, {"error": {"type": "overloaded_error", "message": "Overloaded"}}
)
status("out_of_range_999", 999, RETRY)

status("created_201", 201, UNSURE, {})
status("partial_206", 206, UNSURE, {})


@fault(UNSURE)
async def no_content_204(x: Exchange) -> None:
    await x.reply(b"", status=204)


@fault(stop())
async def not_modified_304(x: Exchange) -> None:
    await x.reply(b"", status=304)


@fault(stop())
async def redirect_301_elsewhere(x: Exchange) -> None:
    port = x.server.url.rpartition(":")[2].partition("/")[0]
    await x.reply(b"", status=301, headers={"Location": f"http://localhost:{port}{STRAY}"})


def _to(name: str, code: int, location: str | None) -> None:
    status(name, code, stop(), headers={} if location is None else {"Location": location})


_to("redirect_302", 302, STRAY)
_to("redirect_303", 303, f"//localhost{STRAY}")
_to("redirect_307_to_itself", 307, "/v1/chat/completions")
_to("redirect_308", 308, f"http://user:password@localhost:1{STRAY}?key=1")
_to("redirect_300_nowhere", 300, None)
_to("redirect_302_garbage", 302, "http://[::1:99999\xb5]/\x7f")


@fault(Effect(retried=True, busy=True, exact=False))
async def limits_used_up_for_a_moment(x: Exchange) -> None:
    """429 whose headers, not its Retry-After, say how long."""
    told = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "40ms"}
    await x.reply(b"{}", status=429, headers=told)


@fault(NOTHING)
async def odd_limits_on_an_answer(x: Exchange) -> None:
    """A server's quirk is no reason to wait."""
    told = {
        "x-ratelimit-limit-requests": "0",
        "x-ratelimit-limit-tokens": "9" * 400,
        "x-ratelimit-remaining-requests": "-1",
        "x-ratelimit-remaining-tokens": "NaN",
        "x-ratelimit-reset-tokens": "Infinity",
        "anthropic-ratelimit-requests-reset": "9999-99-99",
        "RateLimit-Policy": '"x";q=0;w=0',
        "Date": "yesterday",
    }
    await x.reply(headers=told)
