"""All of it put together: a folder, a decoder, an application, a server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mwalimu.errors import ConfigError, MissingDependency
from mwalimu.runtimes import load_decoder
from mwalimu.serving import vllm
from mwalimu.serving.addresses import is_loopback
from mwalimu.serving.cascade_contract import Cascade
from mwalimu.serving.opening import open_served, student_folder


def serve(
    target: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: str | None = None,
    slots: int = 8,
    threads: int | None = None,
    queue: int = 64,
    max_tokens: int = 1024,
    timeout: float = 120.0,
    keys_file: Path | None = None,
    cascade: Cascade | None = None,
    on_started: Callable[[str, str], None] = lambda url, name: None,
) -> None:
    """Serves until it is told to end; `on_started` hears the address and the model's name.

    Raises:
        ConfigError: an address beyond this machine without keys, or one that cannot be had.
        RunError: there is nothing to serve at `target`.
        StudentError: it cannot be loaded.
        MissingDependency: the extra `serve`, or the runtime, is not installed.
    """
    try:
        from mwalimu.serving.app import create_app
        from mwalimu.serving.keys import VARIABLE, read_keys
        from mwalimu.serving.metrics import Metrics
        from mwalimu.serving.scheduler import Engine
        from mwalimu.serving.server import Server
        from mwalimu.serving.settings import Settings
    except ImportError as error:
        raise MissingDependency(
            f"{error.name} is not installed", where="serve", fix="pip install 'mwalimu[serve]'"
        ) from None
    keys, local = read_keys(keys_file), is_loopback(host)
    if not local and not keys:
        raise ConfigError(
            "other machines could ask without a key",
            where=f"--host {host}",
            fix=f"give keys by --keys-file or {VARIABLE}",
        )
    served = open_served(target, name)
    load = partial(load_decoder, served.folder, slots=slots, threads=threads)
    engine = Engine(load, served.decoding, served.ends, queue=queue, metrics=Metrics())
    settings = Settings(
        served.name,
        max_tokens=max_tokens,
        timeout=timeout,
        keys=keys,
        loopback_only=local,
    )
    app = create_app(engine, served.encoding, settings, cascade)
    server = Server(app, engine, host=host, port=port, queue=queue + slots)
    server.serve_until_drained(
        on_started=lambda: on_started(f"http://{host}:{port}/v1", served.name)
    )


def serve_by_vllm(
    target: Path, *, host: str = "127.0.0.1", port: int = 8000, name: str | None = None
) -> None:
    """Ends this process and begins vLLM's in it, which has its own options and its own keys.

    Raises:
        ConfigError: an address beyond this machine.
        RunError, StudentError: there is nothing at `target` that vLLM could load.
        MissingDependency: vLLM is not installed.
    """
    if not is_loopback(host):
        raise ConfigError(
            "is for vLLM's own command line: keys are its matter",
            where=f"--host {host}",
            fix="leave it out, or run vllm serve with --api-key",
        )
    folder = student_folder(target)
    name = name or target.resolve().name
    vllm.execute(vllm.command(folder, name=name, host=host, port=port))
