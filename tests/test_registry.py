"""The registry: its seed is complete, and resolving never overrules the user or leaks a key."""

import dataclasses
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mwalimu import api
from mwalimu.cli import app
from mwalimu.config import TeacherConfig, build_config, dump_config, load_config
from mwalimu.config.routing import resolve, terms_notice
from mwalimu.errors import ConfigError
from mwalimu.registry import Model, find, load
from mwalimu.registry.catalogue import SHIPPED, catalogue, loose

LOOSE = {
    "GPT-4": "gpt-4",
    "gpt 4o mini": "gpt-4o-mini",
    "GPT-4.1": "gpt-4.1",
    "Claude 3.5 Sonnet": "claude-3-5-sonnet",
    "claude-3-5-sonnet-20241022": "claude-3-5-sonnet",
    "Claude Sonnet 4.5": "claude-sonnet-4-5",
    "DeepSeek V3": "deepseek-v3",
    "DeepSeek-V3.1": "deepseek-v3.1",
    "deepseek-ai/DeepSeek-V3": "deepseek-v3",
    "DeepSeek R1": "deepseek-r1",
    "Llama 3.1 405B Instruct": "llama-3.1-405b",
    "meta-llama/Meta-Llama-3.1-405B-Instruct": "llama-3.1-405b",
    "Llama 3.3 70B": "llama-3.3-70b",
    "Qwen2.5 72B": "qwen2.5-72b",
    "Qwen/Qwen3-32B": "qwen3-32b",
    "GPT OSS 120B": "gpt-oss-120b",
    "Mistral Large": "mistral-large-3",
}
MINE = """
hosts:
  lab: {kind: openai_compatible, base_url: "https://lab.example/v1", api_key_env: LAB_KEY}
models:
  mine:
    family: Own
    licence: mit
    context: 4096
    routes: [{host: lab, model: mine-7b}]
"""


@pytest.fixture(autouse=True)
def nobody_s_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)


def teacher(model: str, **settings: Any) -> TeacherConfig:
    return TeacherConfig(model=model, **settings)


def user_file(text: str) -> Path:
    path = Path(".mwalimu") / "models.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def seed() -> list[Model]:
    return list(load().values())


@pytest.mark.parametrize(("name", "model"), LOOSE.items())
def test_loose_spellings_resolve(name: str, model: str) -> None:
    found = find(name)
    assert found is not None and found.name == model


def test_every_name_of_the_seed_means_one_model() -> None:
    owners: dict[str, str] = {}
    for model in seed():
        for name in model.names():
            assert find(name) is model, name
            assert owners.setdefault(loose(name), model.name) == model.name, name


@pytest.mark.parametrize("name", ["", "gpt-5000", "models/gpt-4", "./gpt-4", "deepseek-chat"])
def test_other_names_are_unknown(name: str) -> None:
    assert find(name) is None


@pytest.mark.parametrize("model", seed(), ids=lambda model: model.name)
def test_the_seed_is_complete(model: Model) -> None:
    assert model.context >= 8192 and model.family
    assert model.licence.url.startswith("https://") and model.licence.terms
    assert len({route.name for route in model.routes}) == len(model.routes)
    for route in model.routes:
        in_process = route.kind in ("local", "vllm")
        assert in_process or bool(route.base_url) != bool(route.needs), route.name
        assert "{" not in (route.base_url or "") and 0 <= route.top_logprobs <= 20
        if route.base_url and not route.base_url.startswith("http://localhost:"):
            assert route.api_key_env and route.owns(route.base_url)
        if price := route.price:
            assert date(2023, 1, 1) < price.date <= date.today()
            assert price.source.startswith("https://") and 0 < price.input <= price.output
            assert price.cached is None or price.cached < price.input


def test_types_are_frozen_dataclasses() -> None:
    for thing in (model := seed()[0], model.licence, model.routes[0], model.routes[0].price):
        assert dataclasses.is_dataclass(thing)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, dataclasses.fields(thing)[0].name, None)


def test_a_name_fills_in_its_first_route() -> None:
    found = resolve(teacher("Claude Sonnet 4.6"))
    assert (found.kind, found.route, found.model) == ("anthropic", "anthropic", "claude-sonnet-4-6")
    assert (found.base_url, found.api_key_env) == (
        "https://api.anthropic.com",
        "ANTHROPIC_API_KEY",
    )
    assert (found.usd_per_million_input, found.usd_per_million_output) == (3, 15)
    assert found.identity == "claude-sonnet-4-6"


def test_a_route_of_ones_choice() -> None:
    found = resolve(teacher("llama-3.3-70b", route="together"))
    assert found.model == "meta-llama/Llama-3.3-70B-Instruct-Turbo"
    assert (found.identity, found.api_key_env) == ("llama-3.3-70b", "TOGETHER_API_KEY")
    found = resolve(teacher("Qwen3 32B", route="vllm-server"))
    assert (found.model, found.api_key_env) == ("Qwen/Qwen3-32B", None)
    assert resolve(teacher("qwen3-32b", kind="vllm")).route == "vllm"


def test_a_hub_id_stays_on_this_machine() -> None:
    found = resolve(teacher("Qwen/Qwen3-32B"))
    assert (found.resolved_kind, found.base_url, found.model) == ("local", None, "Qwen/Qwen3-32B")
    assert resolve(teacher("Qwen/Qwen3-32B", route="openrouter")).model == "qwen/qwen3-32b"


def test_what_the_user_set_wins() -> None:
    given = teacher(
        "gpt-4o",
        api_key_env="MY_KEY",
        usd_per_million_input=7.0,
        identity="ours",
        base_url="https://api.openai.com/v1/",
    )
    found = resolve(given)
    assert (
        found.model_dump(exclude_none=True).items()
        >= given.model_dump(
            include={"api_key_env", "usd_per_million_input", "identity", "base_url"}
        ).items()
    )
    assert found.usd_per_million_output == 10
    assert found.usd_per_million_cached is None  # the discount belongs to the registry's price


def test_a_pinned_version_is_a_model_of_its_own() -> None:
    found = resolve(teacher("gpt-4o-2024-08-06"))
    assert (found.model, found.identity) == ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06")


@pytest.mark.parametrize(
    ("given", "where", "says"),
    [
        ({"model": "gpt-4o", "route": "nowhere"}, "teacher.route", "openai (openai_compatible)"),
        ({"model": "unheard-of", "route": "openai"}, "teacher.route", "not in the registry"),
        ({"model": "gpt-4o", "kind": "local"}, "teacher.kind", "azure-openai (azure)"),
        (
            {"model": "gpt-4o", "route": "openai", "kind": "local"},
            "teacher.route",
            "for kind local",
        ),
        ({"model": "gpt-4o", "route": "azure-openai"}, "teacher.base_url", "RESOURCE.openai.azure"),
        ({"model": "gpt-oss-20b", "route": "bedrock"}, "teacher.base_url", "amazonaws.com"),
        ({"model": "claude-sonnet-4-6", "top_logprobs": 1}, "teacher.top_logprobs", "at most 0"),
    ],
)
def test_what_cannot_be_is_said(given: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(TeacherConfig(**given))
    assert caught.value.where == where and says in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("https://API.OpenAI.com:443/v1", "OPENAI_API_KEY"),
        ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
        ("https://ours.openai.azure.com", "AZURE_OPENAI_API_KEY"),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1", "AWS_BEARER_TOKEN_BEDROCK"),
        ("http://api.openai.com/v1", None),
        ("https://api.openai.com:8443/v1", None),
        ("https://api.openai.com.evil.example/v1", None),
        ("https://api.openai.com@evil.example/v1", None),
        ("https://evil.example/api.openai.com", None),
        ("https://a.b.openai.azure.com", None),
        ("https://openai.azure.com.evil.example", None),
        ("http://localhost:8000/v1", None),
        ("https://[not-an-address/v1", None),
    ],
)
@pytest.mark.parametrize("model", ["gpt-4o", "some-name-of-ours"])
def test_a_key_travels_only_where_it_belongs(model: str, base_url: str, key: str | None) -> None:
    assert resolve(teacher(model, base_url=base_url)).api_key_env == key


def test_a_route_s_key_does_not_follow_to_another_address() -> None:
    found = resolve(teacher("gpt-4o", route="openai", base_url="https://proxy.example/v1"))
    assert (found.route, found.api_key_env) == ("openai", None)


def test_a_server_of_ones_own_keeps_its_name_and_has_no_price() -> None:
    found = resolve(teacher("DeepSeek V3", base_url="http://gpu:8000/v1", top_logprobs=20))
    assert (found.model, found.identity) == ("DeepSeek V3", "deepseek-v3")
    assert (found.route, found.usd_per_million_input) == (None, None)


def test_a_known_host_gives_its_name_and_price() -> None:
    found = resolve(teacher("GPT-4o", base_url="https://api.openai.com/v1"))
    assert (found.model, found.route, found.usd_per_million_output) == ("gpt-4o", "openai", 10)
    assert resolve(teacher("x", base_url="https://api.anthropic.com")).kind == "anthropic"
    assert resolve(teacher("claude-next", kind="anthropic")).api_key_env == "ANTHROPIC_API_KEY"


def test_batch_prices() -> None:
    batch, online = (resolve(teacher("gpt-4o", mode=mode)) for mode in ("batch", "online"))
    assert batch.batch_factor == online.batch_factor == 0.5
    # The full price stays: what a batch leaves out is asked online.
    assert (batch.usd_per_million_input, batch.usd_per_million_output) == (2.5, 10)


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_resolving_twice_changes_nothing(mode: str) -> None:
    for model in seed():
        for route in model.routes:
            place = {"base_url": "https://eu.example/v1"} if route.needs else {}
            once = resolve(teacher(model.name, route=route.name, mode=mode, **place))
            assert resolve(once) == once and once.route == route.name, (model.name, route.name)
            assert once.identity == model.name
    for name in (*LOOSE, "gpt-4o-2024-08-06", "some/hub-id", "fake"):
        once = resolve(teacher(name, mode=mode))
        assert resolve(once) == once


def test_folders_hub_ids_and_fakes_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "gpt-4").mkdir()
    for given in (
        teacher("gpt-4"),
        teacher(str(tmp_path / "gpt-4"), kind="vllm"),
        teacher("some/hub-id"),
        teacher("fake"),
        teacher("gpt-4o", kind="fake"),
    ):
        assert resolve(given) == given
    named = resolve(teacher("gpt-4", identity="deepseek-v3", route="vllm"))
    assert (named.model, named.kind) == ("gpt-4", "vllm")


def test_user_files_add_and_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "xdg" / "mwalimu" / "models.yaml"
    home.parent.mkdir(parents=True)
    home.write_text(MINE, encoding="utf-8")
    found = resolve(teacher("Mine"))
    assert (found.model, found.api_key_env) == ("mine-7b", "LAB_KEY")
    assert find("gpt-4o") is not None
    user_file(MINE.replace("  mine:", "  gpt-4o:").replace("4096", "9000"))
    assert load()["gpt-4o"].context == 9000 and load()["mine"].context == 4096
    extra = tmp_path / "extra.yaml"
    extra.write_text(MINE.replace("4096", "1234"), encoding="utf-8")
    assert load([extra])["mine"].context == 1234 and load()["mine"].context == 4096
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    assert "mine" not in load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: [", "is not valid YAML"),
        ("- 1", "the file: is not a mapping"),
        ("model: {}", "model: unknown key"),
        ("models: {mine: 3}", "models.mine: is not a mapping"),
        (MINE.replace("host: lab", "host: lap"), "models.mine.routes.0.host: 'lap'"),
        (MINE.replace("mit", "gpl"), "models.mine.licence: 'gpl'"),
        (MINE.replace("4096", "much"), "models.mine.context: "),
        (MINE.replace("family: Own", "famly: Own"), "models.mine.famly: "),
        (MINE.replace("[{host: lab, model: mine-7b}]", "[]"), "models.mine.routes: "),
        (MINE.replace("mine-7b", "mine-7b, price: {input: 1}"), "models.mine.routes.0.price."),
        (MINE.replace("kind: openai_compatible", "kind: http"), "hosts.lab.kind: "),
    ],
)
def test_a_bad_user_file_names_file_and_key(text: str, says: str) -> None:
    path = user_file(text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(path.absolute()) in caught.value.where and says in caught.value.what


def test_the_notice_tells_terms_in_one_line() -> None:
    def notice(model: str, **settings: Any) -> str:
        line = terms_notice(resolve(teacher(model, **settings)))
        assert line is not None and "\n" not in line
        return line

    assert "compete with OpenAI's" in notice("gpt-4o") and "2027-01-14" in notice("gpt-4o")
    assert "no more since 2025-10-28" in notice("claude-3-5-sonnet")
    assert "Built with Llama" in notice("llama-3.1-405b", base_url="http://gpu:8000/v1")
    assert "terms of deepseek apply too" in notice("deepseek-v4.1-flash")
    assert "terms of" not in notice("deepseek-r1", route="vllm")
    assert terms_notice(teacher("some/hub-id")) is None
    assert terms_notice(teacher("gpt-4o", kind="fake")) is None


def test_the_config_resolves_every_teacher_and_dumps_stably(tmp_path: Path) -> None:
    raw = {
        "task": "qa",
        "data": {"train": "prompts.jsonl"},
        "teacher": {"model": "gpt-4o"},
        "student": {"model": "some/student"},
        "ensemble": {
            "strategy": "judge",
            "others": [{"model": "Claude Sonnet 4.6"}],
            "judge": {"model": "gpt-4.1"},
        },
        "generate": {"user_model": {"model": "llama-3.3-70b"}},
    }
    config = build_config(raw, base=tmp_path)
    assert config.ensemble is not None and config.ensemble.judge is not None
    assert config.generate.user_model is not None
    assert [t.api_key_env for t in (config.teacher, *config.ensemble.others)] == [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
    ]
    assert config.ensemble.judge.route == "openai"
    assert config.generate.user_model.route == "sambanova"
    path = tmp_path / "again.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config
    raw["ensemble"] = {"strategy": "vote", "others": [{"model": "gpt-4o", "route": "x"}]}
    with pytest.raises(ConfigError, match=r"ensemble\.others\.0\.route"):
        build_config(raw, base=tmp_path)


def test_models_lists_filters_and_details() -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.output

    everything = run()
    assert all(model.name in everything for model in seed())
    assert "2026-10" in everything and "restricted" in everything
    assert "claude" not in run("--returns", "logprobs") and "gpt-4o" in run("--returns", "logprobs")
    assert "gpt-4o" not in run("--trainable") and "qwen3-32b" in run("--trainable")
    assert len(run("llama", "70b").splitlines()) == 3
    details = run("gpt-4")
    assert "route openai: " in details and "openai.com/index/gpt-4-research" in details
    listed = json.loads(run("gpt", "--json"))
    assert {"gpt-4", "gpt-oss-20b"} <= {model["name"] for model in listed}
    assert [model.name for model in api.models("mistral", trainable=True)] == ["mistral-large-3"]


@pytest.mark.parametrize("arguments", [["no such model"], ["--returns", "pictures"]])
def test_models_without_a_hit_is_a_config_error(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["models", *arguments])
    assert isinstance(result.exception, ConfigError)


def test_loaded_only_when_needed() -> None:
    script = (
        "import sys\nfrom mwalimu.cli import main\nsys.argv = ['mwalimu', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('registry' if any('registry' in m for m in sys.modules) else 'lean')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "models" in result.stdout and result.stdout.rstrip().endswith("lean")
    assert catalogue() is catalogue() and SHIPPED.is_file()
