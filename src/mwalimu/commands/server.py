"""`mwalimu server`: the job service of one workspace, and who may use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from mwalimu.jobs.settings import ServiceSettings
    from mwalimu.jobs.store.tokens import TokenStore

app = typer.Typer(add_completion=False)
server_app = typer.Typer(add_completion=False, invoke_without_command=True)
token_app = typer.Typer(add_completion=False, no_args_is_help=True, help="Who may use the service.")
server_app.add_typer(token_app, name="token")
app.add_typer(server_app, name="server")

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="server.yaml; see docs/service.md")
]
Folder = Annotated[
    Path | None, typer.Option("--workspace", help="of the service [default: .mwalimu/service]")
]
RoleName = Literal["viewer", "submitter", "admin"]


@server_app.callback()
def server(
    context: typer.Context,
    settings_file: SettingsFile = None,
    workspace: Folder = None,
    host: Annotated[
        str | None, typer.Option("--host", help="where to listen [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="0: any [default: 8600]")
    ] = None,
    slots: Annotated[
        list[str] | None,
        typer.Option("--slots", help="jobs at once, as in --slots cpu=2 --slots gpu=1"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="a name that the server is called by elsewhere"),
    ] = None,
    allow_teacher: Annotated[
        list[str] | None,
        typer.Option("--allow-teacher", help="a base_url that jobs may name, or how it begins"),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", help="PEM, the chain included")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", help="PEM")] = None,
) -> None:
    """The job service: takes jobs, runs them one after the other, shows how they are."""
    if context.invoked_subcommand is not None:
        return
    from mwalimu.jobs.hosting.hosting import host as host_service
    from mwalimu.serving.addresses import is_loopback

    changes = {
        "host": host,
        "port": port,
        "slots": _slots(slots),
        "tls_certificate": certificate,
        "tls_key": key,
    }
    more = {"allowed_hosts": allow_host, "allowed_teachers": allow_teacher}
    settings = _settings(settings_file, workspace, changes, more)
    if not is_loopback(settings.host) and settings.tls_key is None:
        typer.echo("note: without TLS, tokens can be read on their way by others", err=True)
    host_service(settings, _tell)


@token_app.command("make")
def make_token(
    name: Annotated[str, typer.Argument(help="whose it is")],
    role: Annotated[RoleName, typer.Option("--role", help="each may what those before may")],
    days: Annotated[
        float | None, typer.Option("--days", min=0, help="that it is good for [default: ever]")
    ] = None,
    settings_file: SettingsFile = None,
    workspace: Folder = None,
) -> None:
    """Prints a new token, which nothing can show again."""
    import time

    from mwalimu.jobs.records import Role

    expires = None if days is None else time.time() + days * 86_400
    tokens = _tokens(settings_file, workspace)
    typer.echo(tokens.make(name, Role(role), expires=expires))


@token_app.command("list")
def list_tokens(settings_file: SettingsFile = None, workspace: Folder = None) -> None:
    """Names, roles, until when; never the tokens."""
    import time

    for token in _tokens(settings_file, workspace).all():
        end = token.expires and time.strftime("until %Y-%m-%d %H:%M", time.localtime(token.expires))
        typer.echo(f"{token.name}\t{token.role}\t{end or 'does not expire'}")


@token_app.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(help="whose it is")],
    settings_file: SettingsFile = None,
    workspace: Folder = None,
) -> None:
    """It is refused from the next request on."""
    _tokens(settings_file, workspace).revoke(name)


def _tell(url: str, token: str | None) -> None:
    """A token is shown to a person who looks on, never to a log."""
    import sys

    if token is not None and sys.stdout.isatty():
        typer.echo(f"dashboard: {url}/#token={token}")
    else:
        typer.echo(f"dashboard: {url}")
    sys.stdout.flush()


def _settings(
    file: Path | None,
    workspace: Path | None,
    changes: Mapping[str, object] = {},
    more: Mapping[str, list[str] | None] = {},
) -> ServiceSettings:
    """What the command line says stands above the file, or adds to it (`more`)."""
    from pydantic import ValidationError

    from mwalimu.config.loading import config_error
    from mwalimu.jobs.settings import ServiceSettings, load_settings

    settings = ServiceSettings() if file is None else load_settings(file)
    given = {"workspace": workspace, **changes}
    raw = settings.model_dump(exclude_unset=True)
    raw |= {name: value for name, value in given.items() if value is not None}
    raw |= {name: (*getattr(settings, name), *(values or ())) for name, values in more.items()}
    try:
        return ServiceSettings.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, "server", ServiceSettings) from None


def _tokens(file: Path | None, workspace: Path | None) -> TokenStore:
    from mwalimu.jobs.hosting.hosting import open_store
    from mwalimu.jobs.store.tokens import TokenStore

    return TokenStore(open_store(_settings(file, workspace)).database)


def _slots(given: list[str] | None) -> dict[str, int] | None:
    from mwalimu.errors import ConfigError

    if not given:
        return None
    found = {}
    for one in given:
        resource, _, count = one.partition("=")
        if not resource or not count.isdecimal():
            raise ConfigError(f"{one!r} is no number of jobs", where="--slots", fix="write cpu=2")
        found[resource] = int(count)
    return found
