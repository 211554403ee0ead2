"""Azure's addresses, keys, tokens and filters; against OpenAI's SDK for Azure too."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from types import ModuleType
from typing import Any, NamedTuple

import orjson
import pytest

from mwalimu.config import TeacherConfig
from mwalimu.errors import MissingDependency, TeacherRefusesKey
from mwalimu.teachers.azure import AzureChat
from mwalimu.teachers.base import TransientError
from mwalimu.teachers.entra import EntraToken
from tests.teachers.golden_cases import (
    KEY,
    KEY_ENV,
    Case,
    assert_means,
    assert_same_request,
    assert_sends,
    cases,
    ours,
    theirs,
)
from tests.teachers.test_openai_chat import assert_reads_the_same

TOKEN_ENV = "AZURE_OPENAI_AD_TOKEN"
WIRE = AzureChat()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    for name in ("AZURE_OPENAI_API_KEY", "OPENAI_API_VERSION", "OPENAI_BASE_URL", TOKEN_ENV):
        monkeypatch.delenv(name, raising=False)


def config(base: str, **more: Any) -> TeacherConfig:
    known = {"model": "gpt-x", "kind": "azure", "base_url": base, "api_key_env": KEY_ENV}
    return TeacherConfig.model_validate(known | more)


@pytest.mark.parametrize("case", cases("azure"))
def test_the_reference(case: Case) -> None:
    seen, completion = ours(case)
    assert_sends(seen, case)
    assert_means(completion, case)


@pytest.mark.parametrize("case", cases("azure"))
def test_the_sdk_sends_and_reads_the_same(case: Case) -> None:
    openai = pytest.importorskip("openai")
    if case.name == "foundry":
        pytest.skip("an API of its own, which OpenAI's SDK does not speak")

    def call(url: str) -> Any:
        v1 = {"base_url": f"{url}/openai/v1", "default_headers": {"api-key": KEY}}
        classic = {
            "azure_endpoint": url,
            "azure_deployment": case["config"]["deployment"],
            "api_version": case["config"].get("api_version"),
        }
        client = openai.OpenAI if case.name == "v1" else openai.AzureOpenAI
        options = v1 if case.name == "v1" else classic
        with client(api_key=KEY, max_retries=0, **options) as opened:
            try:
                return opened.chat.completions.create(**case["sends"]["body"])
            except openai.BadRequestError as error:
                return error

    seen, completion = ours(case)
    their_seen, answer = theirs(case, call)
    assert_same_request(seen, their_seen, {"api-key"})
    if case.name == "filtered_prompt":
        assert (answer.code, completion.finish_reason) == ("content_filter", "content_filter")
    else:
        assert_reads_the_same(completion, answer)


def test_a_token_goes_where_the_sdk_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    openai = pytest.importorskip("openai")
    (case,) = [
        parameters.values[0] for parameters in cases("azure") if parameters.id == "deployment"
    ]
    assert isinstance(case, Case)
    monkeypatch.setenv(TOKEN_ENV, "a-token")
    entra = Case(
        case.provider, "entra", case.content | {"config": case["config"] | {"auth": "entra"}}
    )

    def call(url: str) -> Any:
        with openai.AzureOpenAI(
            azure_endpoint=url, azure_ad_token="a-token", max_retries=0, **azure_options
        ) as client:
            return client.chat.completions.create(**case["sends"]["body"])

    azure_options = {"azure_deployment": "my gpt", "api_version": "2024-10-21"}
    seen, _ = ours(entra)
    their_seen, _ = theirs(case, call)
    assert_same_request(seen, their_seen, {"authorization", "api-key"})
    assert seen.headers["authorization"] == "Bearer a-token"


OPENAI = "https://r.openai.azure.com"
FOUNDRY = "https://r.services.ai.azure.com"
SERVERLESS = "https://phi.eastus2.models.ai.azure.com"


@pytest.mark.parametrize(
    ("base", "more", "chat", "probe"),
    [
        (
            OPENAI,
            {"deployment": "d"},
            f"{OPENAI}/openai/deployments/d/chat/completions?api-version=2024-10-21",
            f"{OPENAI}/openai/models?api-version=2024-10-21",
        ),
        (
            f"{OPENAI}/openai/",
            {"deployment": "d", "api_version": "2025-01-01-preview"},
            f"{OPENAI}/openai/deployments/d/chat/completions?api-version=2025-01-01-preview",
            f"{OPENAI}/openai/models?api-version=2025-01-01-preview",
        ),
        (  # as the SDK: without a deployment's name it is the model's
            OPENAI,
            {},
            f"{OPENAI}/openai/deployments/gpt-x/chat/completions?api-version=2024-10-21",
            f"{OPENAI}/openai/models?api-version=2024-10-21",
        ),
        (
            f"{OPENAI}/openai/v1",
            {"deployment": "d"},
            f"{OPENAI}/openai/v1/chat/completions",
            f"{OPENAI}/openai/v1/models",
        ),
        (
            f"{OPENAI}/openai/v1/",
            {"api_version": "preview"},
            f"{OPENAI}/openai/v1/chat/completions?api-version=preview",
            f"{OPENAI}/openai/v1/models?api-version=preview",
        ),
        (
            FOUNDRY,
            {},
            f"{FOUNDRY}/models/chat/completions?api-version=2024-05-01-preview",
            f"{FOUNDRY}/models/info?api-version=2024-05-01-preview",
        ),
        (
            f"{FOUNDRY}/models",
            {},
            f"{FOUNDRY}/models/chat/completions?api-version=2024-05-01-preview",
            f"{FOUNDRY}/models/info?api-version=2024-05-01-preview",
        ),
        (
            SERVERLESS,
            {},
            f"{SERVERLESS}/chat/completions?api-version=2024-05-01-preview",
            f"{SERVERLESS}/info?api-version=2024-05-01-preview",
        ),
    ],
)
def test_addresses(base: str, more: dict[str, Any], chat: str, probe: str) -> None:
    assert str(WIRE.url(config(base, **more))) == chat
    assert str(WIRE.models_url(config(base, **more))) == probe


def test_a_deployments_name_cannot_leave_its_place_in_the_path() -> None:
    url = WIRE.url(config(OPENAI, deployment="a/../b?x=1"))
    assert url.host == "r.openai.azure.com" and "x" not in url.query
    assert url.raw_path.startswith("/openai/deployments/")


def test_what_can_be_deployed_is_not_what_is() -> None:
    assert WIRE.model_names(orjson.dumps({"data": [{"id": "gpt-y"}]})) == []


def test_a_filtered_prompt_without_any_choice_is_an_outcome() -> None:
    hit = {"hate": {"filtered": True, "severity": "high"}, "sexual": {"filtered": False}}
    raw = orjson.dumps({"choices": [], "prompt_filter_results": [{"content_filter_results": hit}]})
    assert WIRE.is_answer(raw)
    completion = WIRE.parse(raw, config(OPENAI))
    assert (completion.finish_reason, completion.text) == ("content_filter", "")


class Token(NamedTuple):
    token: str
    expires_on: float


class ClientAuthenticationError(Exception):
    pass


class Credential:
    """In the place of DefaultAzureCredential; `outcomes` are given in turn, the last for ever."""

    def __init__(self, *outcomes: Token | Exception) -> None:
        self.outcomes = list(outcomes)
        self.scopes: list[str] = []
        self.threads: set[int] = set()

    def get_token(self, scope: str) -> Token:
        self.scopes.append(scope)
        self.threads.add(threading.get_ident())
        time.sleep(0.02)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def install(monkeypatch: pytest.MonkeyPatch, credential: Credential) -> None:
    identity, exceptions = ModuleType("azure.identity"), ModuleType("azure.core.exceptions")
    identity.DefaultAzureCredential = lambda: credential  # type: ignore[attr-defined]
    exceptions.ClientAuthenticationError = ClientAuthenticationError  # type: ignore[attr-defined]
    for name in ("azure", "azure.core"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    monkeypatch.setitem(sys.modules, "azure.core.exceptions", exceptions)


async def tokens(source: EntraToken, count: int) -> list[str]:
    return await asyncio.gather(*[source.get() for _ in range(count)])


def test_one_token_is_fetched_for_all_workers_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    credential = Credential(Token("t1", time.time() + 3600))
    install(monkeypatch, credential)
    assert asyncio.run(tokens(EntraToken("scope"), 20)) == ["t1"] * 20
    assert credential.scopes == ["scope"]
    assert threading.get_ident() not in credential.threads


def test_a_token_is_renewed_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Credential(Token("old", soon()), Token("new", soon() + 3600)))

    async def life() -> list[list[str]]:
        source = EntraToken("scope")
        first = await tokens(source, 3)
        source._renew_at = 0.0  # as if the pause between two attempts were over
        return [first, await tokens(source, 3)]

    assert asyncio.run(life()) == [["old"] * 3, ["new"] * 3]


def test_an_old_token_serves_while_entra_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Credential(Token("old", soon()), OSError("no network")))

    async def life() -> TransientError:
        source = EntraToken("scope")
        assert await tokens(source, 1) == ["old"]
        source._renew_at = 0.0
        assert await tokens(source, 2) == ["old"] * 2
        source._renew_at = source._ends_at = 0.0
        with pytest.raises(TransientError, match="Entra is away") as caught:
            await source.get()
        return caught.value

    assert not asyncio.run(life()).ambiguous


def soon() -> float:
    return time.time() + 100


def test_entra_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Credential(ClientAuthenticationError("not\nlogged in")))
    with pytest.raises(TeacherRefusesKey, match=r"Entra gave no token \(not logged in\)"):
        asyncio.run(tokens(EntraToken("scope"), 1))


def test_without_the_extra_the_environments_token_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    monkeypatch.setenv(TOKEN_ENV, " t0 \n")
    assert asyncio.run(tokens(EntraToken("scope"), 2)) == ["t0", "t0"]
    monkeypatch.delenv(TOKEN_ENV)
    with pytest.raises(MissingDependency, match=r"azure-identity, or a token in \$AZURE_OPENAI_AD"):
        asyncio.run(tokens(EntraToken("scope"), 1))


@pytest.mark.parametrize(
    ("base", "scope"),
    [
        (OPENAI, "https://cognitiveservices.azure.com/.default"),
        (SERVERLESS, "https://ml.azure.com/.default"),
    ],
)
def test_headers_change_with_the_token_only(
    base: str, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = Credential(Token("t1", time.time() + 3600), Token("t2", time.time() + 3600))
    install(monkeypatch, credential)
    wire, entra = AzureChat(), config(base, auth="entra", api_key_env=None)

    async def three() -> list[Any]:
        first, again = await wire.headers(entra), await wire.headers(entra)
        assert wire._entra is not None
        wire._entra._renew_at = 0.0
        return [first, again, await wire.headers(entra)]

    first, again, renewed = asyncio.run(three())
    assert first is again and first is not renewed
    assert (first["authorization"], renewed["authorization"]) == ("Bearer t1", "Bearer t2")
    assert "api-key" not in first
    assert set(credential.scopes) == {scope}
