"""`server.yaml`: how one job service is set up, and how much each role may have at once."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, field_validator, model_validator

from mwalimu.config.loading import config_error, read_mapping
from mwalimu.config.section import Section
from mwalimu.jobs.records import Role


class Quota(Section):
    """What one owner may have; without a number there is no limit."""

    waiting: int | None = Field(100, ge=0, description="jobs that wait for a slot")
    running: int | None = Field(None, ge=1, description="jobs at once; the others wait")
    usd: float | None = Field(
        None, ge=0, description="spent by all jobs so far, and reserved by budget.usd of live ones"
    )
    dataset_bytes: int | None = Field(10 << 30, ge=0, description="of all versions together")
    streams: int | None = Field(400, ge=1, description="events and logs that are followed at once")


class Quotas(Section):
    queue: int = Field(10_000, ge=1, description="jobs of everybody that wait")
    streams: int = Field(800, ge=1, description="events and logs of everybody that are followed")
    default: Quota = Quota()
    roles: dict[Role, Quota] = Field({}, description="instead of `default`")

    def of(self, role: Role | None) -> Quota:
        return self.default if role is None else self.roles.get(role, self.default)


class ServiceSettings(Section):
    workspace: Path = Path(".mwalimu/service")
    host: str = "127.0.0.1"
    port: int = Field(8600, ge=0, le=65535, description="0 lets the system choose one")
    tls_certificate: Path | None = Field(None, description="PEM, the chain included")
    tls_key: Path | None = Field(None, description="PEM")
    allowed_hosts: tuple[str, ...] = Field((), description="names in Host besides this machine's")
    slots: dict[str, int] = Field({"cpu": 1}, description="jobs at once by resource; gpu: one each")
    lease_s: float = Field(30.0, gt=0, description="a worker not heard of for so long has vanished")
    max_attempts: int = Field(
        5, ge=1, description="workers that may vanish without a new stage before a job is given up"
    )
    retention_days: float | None = Field(
        None, gt=0, description="jobs that ended longer ago go, unless a model is theirs"
    )
    allowed_teachers: tuple[str, ...] = Field(
        (), description="base_url that a job may name, by prefix; those of the registry always may"
    )
    webhook_hosts: tuple[str, ...] = Field(
        (),
        description="host or host:port that webhooks may call though it is private or has no TLS",
    )
    quotas: Quotas = Quotas()

    @field_validator("slots")
    @classmethod
    def _slots(cls, slots: dict[str, int]) -> dict[str, int]:
        if not slots or any(not name or number < 0 for name, number in slots.items()):
            raise ValueError("give each resource a number of slots, as in {cpu: 1, gpu: 2}")
        return slots

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self


DEFAULTS = ServiceSettings()


def load_settings(path: Path) -> ServiceSettings:
    """Paths in it are taken from its folder. Raises ConfigError: names the file and the key."""
    raw, base = read_mapping(path, fix="see docs/service.md"), path.resolve().parent
    try:
        settings = ServiceSettings.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, str(path), ServiceSettings) from None
    placed = {
        name: base / value
        for name in ("workspace", "tls_certificate", "tls_key")
        if (value := getattr(settings, name)) is not None
    }
    return settings.model_copy(update=placed)
