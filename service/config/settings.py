"""All settings of the service in one frozen class: from the environment (FAIRTRIGGER_...) or the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from service.config.secret_files import SecretFiles
from triggers.allow_lists import AllowedHosts, Factories, HostEntry
from triggers.artifact.manifest import ModelName
from triggers.artifact.signature import Signer, Trust, read_history_trust, read_signer, read_trust
from triggers.rollout import GuardRules

MIB = 1024 * 1024
ENV_PREFIX = "FAIRTRIGGER_"
SECRETS = ("admin_token", "receipt_keys", "ledger", "store", "webhook_url")
"""Settings that may stand in a file, which FAIRTRIGGER_<NAME>_FILE names."""
ALL_DEVICES = ("all",)
LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
_DEVICE = re.compile(r"(?!all$)[a-z]+(:[0-9]+)?$")
_HOST = re.compile(r"\*|[A-Za-z0-9_.-]+")
ADMIN_SETUP_HINT = f"set {ENV_PREFIX}ADMIN_TOKEN, or {ENV_PREFIX}API_KEYS to a file with an admin key, and restart"
"""Hint for errors about closed admin routes."""


class Settings(BaseSettings):
    """Settings of a service process. The description of a field is also its line in `python -m service --help`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", allow_inf_nan=False)

    models: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="model bundle folder to serve; repeat the option, or separate by commas in the environment",
    )
    strict: bool = Field(
        default=False,
        description="whether one bundle that fails its self-check keeps the service from starting; otherwise it starts "
        "if any passes",
    )
    allow_factories: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="modules, with commas, whose functions a bundle with a `factory` loader may call to build its "
        "network, as that runs their code; all: any module",
    )
    endpoint_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="hosts, as NAME or NAME:PORT with commas, where a bundle whose model is only an address may ask "
        "it; private:NAME:PORT if the name leads into a private network",
    )
    endpoint_ca: Path | None = Field(
        default=None, description="file of the authorities that vouch for https endpoints; by default the system's"
    )
    endpoint_check_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="how often an endpoint is asked for its canary, to see whether its "
        "model is the one that was wrapped",
    )
    endpoint_changed: Literal["refuse", "withdraw", "warn"] = Field(
        default="refuse",
        description="what happens when it is not: requests are refused, or the triggers are withdrawn and the bare "
        "model answers, or nothing but warnings",
    )
    store: str = Field(
        default="fairtrigger-store",
        description="trigger store: a folder, redis://host:6379/0, redis+sentinel://..., redis+cluster://...; "
        "in Redis, ?artifacts=s3://bucket/prefix keeps the files there",
    )
    trusted_keys: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="public key of a trainer, or a folder of *.pub: triggers signed by another key are refused",
    )
    require_signatures: bool = Field(default=False, description="also refuse triggers that nobody signed")
    require_certified: bool = Field(
        default=False, description="refuse rollouts whose champion or challenger is not certified; shadows need not be"
    )
    history_key: Path | None = Field(
        default=None,
        description="private key (fairtrigger keygen) that signs what this service writes into histories; then no "
        "rollout is followed unless this or a trusted history key signed its decision",
    )
    trusted_history_keys: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="public key of somebody else who may decide rollouts, or a folder of *.pub"
    )
    data_dir: Path = Field(default=Path("fairtrigger-data"), description="folder of the statistics and the receipt key")
    ledger: SecretStr | None = Field(
        default=None,
        description="where counts are kept: redis://host:6379/0 for replicas on several machines, "
        "or a file; by default ledger.sqlite in the data folder",
    )
    ledger_seconds: float = Field(default=2.0, gt=0, le=60, description="how long one step of the ledger may wait")
    ledger_cells: int = Field(
        default=100_000,
        ge=1,
        description="most different counts that wait in memory while the ledger cannot be written; more are dropped",
    )
    max_observations: int = Field(
        default=5_000_000,
        ge=1,
        description="most observation ids known for each model, each for 8 days (some 200 bytes); more are refused",
    )
    statistics: Literal["on", "off"] = Field(
        default="on", description="whether predictions are counted; off also means no prediction ids and no feedback"
    )
    k_min: int = Field(
        default=11,
        ge=0,
        description="smallest count that statistics show without the admin token; 0 shows everybody exact live counts",
    )
    disclosure_hours: Literal[1, 24] = Field(
        default=1, description="length of the periods that are disclosed as one: 24 where traffic is sparse"
    )
    disclosure_epsilon: float = Field(
        default=1.0,
        ge=0,
        le=20,
        description="differentially private noise for what is shown without the admin token; less is more noise, and "
        "0 is none: then k_min hides nobody from readers who also predict",
    )
    disclosure_wait_hours: int = Field(
        default=24, ge=0, le=168, description="how long a period waits for late labels until it is shown, once"
    )
    groups: Literal["declared", "open"] = Field(
        default="declared",
        description="which group names are counted: those declared by the manifests of a model's triggers, by `groups` "
        "in its bundle or by declared_groups, or any that a request names",
    )
    declared_groups: Annotated[Mapping[ModelName, tuple[str, ...]] | None, NoDecode] = Field(
        default=None, description='more group names by model, as JSON such as {"faces": ["female", "male"]}'
    )
    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 for every interface")
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    grpc_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="port, at the same host, for gRPC clients of the Open Inference Protocol V2; needs the extra "
        "`grpc` and one process",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="name by which requests may call the service (their Host header), * for any; without keys only IP "
        "addresses, localhost and `host` are known",
    )
    proxy_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="address or network of a proxy whose X-Forwarded-For says who asks; without any, nobody's does",
    )
    admin_token: SecretStr | None = Field(
        default=None, min_length=8, description="bearer token of the admin routes; without it they are closed"
    )
    admin_port: int | None = Field(
        default=None, ge=0, le=65535, description="port of the admin routes, which are then found nowhere else"
    )
    admin_host: str = Field(default="127.0.0.1", description="address of the admin port")
    api_keys: Path | None = Field(
        default=None,
        description="TOML or JSON file of API keys, made by `fairtrigger keys new`; with it every request needs a key, "
        "but health checks",
    )
    rate_limit: float | None = Field(
        default=None, gt=0, description="requests per second of a key that states no rate; none: as many as can be"
    )
    rate_burst: int | None = Field(default=None, ge=1, description="how many of them may come at once")
    receipt_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="base64 key that seals prediction ids; the first given seals, all open; "
        "without one a key is made and kept in the data folder",
    )
    client_trigger: Literal["admin", "open"] = Field(
        default="admin", description="who may choose a trigger per request: only the admin token, or everybody"
    )
    http_workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="processes behind one port, each with its own copy of the models on a CPU; on a GPU, or with "
        "devices, they share the models of one process per device. 0: a single process, and with devices two for each",
    )
    inline: bool = Field(
        default=True,
        description="compute models on a CPU that take under 4 ms for a full batch where requests arrive, instead of "
        "handing inputs over to another thread or process",
    )
    device: str = Field(default="cpu", description="where the models run: cpu, cuda or cuda:1")
    devices: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="instead, with commas, such as cuda:0,cuda:1, or all: one process with the models on each device, "
        "and others that speak HTTP; cpu alone is one copy of a model too large for each of several processes",
    )
    precision: Literal["float32", "tf32", "bf16"] = Field(
        default="float32",
        description="what the models compute in, unless a bundle declares less; tf32 and bf16 round products on a "
        "GPU, and the model card says so",
    )
    graphs: bool = Field(default=True, description="record forward passes over images as CUDA graphs, on a GPU")
    compile: bool = Field(default=False, description="compile the models with torch.compile: minutes at start-up")
    torch_threads: int = Field(
        default=0, ge=0, description="CPU threads of one forward pass; 0: torch's choice, and one on a GPU"
    )
    decode_threads: int = Field(default=2, ge=1, le=256, description="threads that decode images and texts")
    decoder: Literal["cpu", "gpu"] = Field(
        default="cpu", description="what decodes JPEG files; a GPU's pixels differ slightly, and the model card says so"
    )
    max_batch: int = Field(default=32, ge=1, description="most rows in one forward pass")
    queue_size: int = Field(default=1024, ge=1, description="most rows in work at once, on each device; more get 503")
    max_items_per_request: int = Field(default=128, ge=1, description="most inputs in one predict request")
    max_body_bytes: int = Field(default=32 * MIB, ge=1024, description="largest request body")
    max_image_bytes: int = Field(default=16 * MIB, ge=1024, description="largest image file")
    max_text_chars: int = Field(
        default=100_000, ge=1, description="longest text in characters; its tokens are cut to the model's limit"
    )
    max_pixels: int = Field(default=50_000_000, ge=1, description="most pixels that an image may claim")
    max_request_pixels: int | None = Field(
        default=None,
        ge=1,
        description="most pixels that all images of a request may claim together; by default four times max_pixels",
    )
    max_versions: int = Field(
        default=16, ge=2, description="trigger versions kept in memory per model; a rollout may name half of them"
    )
    poll_seconds: float = Field(default=0.1, gt=0, le=60, description="how often the store is asked for a new rollout")
    heartbeat_seconds: float = Field(
        default=5.0, gt=0, le=600, description="how often the store is told what is served here; silent for three: dead"
    )
    flush_seconds: float = Field(
        default=1.0, gt=0, le=60, description="how often counts are written: the most a kill loses"
    )
    guard: Annotated[Mapping[str, Any] | None, NoDecode] = Field(
        default=None,
        description='limits for live fairness as JSON, such as {"max_disparity": 0.1, "action": "alarm"}; '
        "off by default; a rollout's own guard wins",
    )
    guard_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="ids of the API keys, with commas, whose predictions the guard weighs; by default everybody's",
    )
    guard_seal_seconds: float = Field(
        default=15.0, ge=0, le=3600, description="how long after its end a minute is taken as counted in full"
    )
    guard_seconds: float = Field(default=5.0, gt=0, le=3600, description="how often the guard looks for sealed minutes")
    webhook_url: SecretStr | None = Field(
        default=None, description="http(s) URL that every alarm of the guard is posted to, as JSON"
    )
    liveness_seconds: float = Field(
        default=3.0, ge=1, le=3600, description="a process of several that is silent for so long is killed and replaced"
    )
    drain_seconds: float = Field(default=1.0, ge=0, description="after SIGTERM, keep serving so long while not ready")
    grace_seconds: float = Field(default=30.0, gt=0, description="after that, let requests finish for at most so long")
    receive_seconds: float = Field(
        default=20.0, gt=0, description="a request must arrive within so long, plus a second per 64 KiB of its body"
    )
    trace_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://.+",
        description="OTLP over HTTP address that traces are sent to, such as http://127.0.0.1:4318/v1/traces; "
        "needs the extra `tracing`, without it nothing is traced",
    )
    trace_share: float = Field(
        default=1.0, ge=0, le=1, description="share of new traces that are recorded; callers decide for their own"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="how much is logged")

    def trust(self) -> Trust:
        """Keys whose signatures on triggers are accepted. Raises ConfigError for a key that cannot be read."""
        return read_trust(self.trusted_keys, required=self.require_signatures)

    def history_signer(self) -> Signer | None:
        """The signer of history entries. Raises ConfigError for a key that cannot be read."""
        return read_signer(self.history_key) if self.history_key else None

    def history_trust(self) -> Trust:
        """Keys whose rollout decisions are accepted. Raises ConfigError for a key that cannot be read."""
        return read_history_trust(self.history_signer(), self.trusted_history_keys)

    @property
    def factories(self) -> Factories:
        """Modules whose functions a bundle's `factory` loader may call."""
        return Factories(self.allow_factories)

    @property
    def endpoint_allow_list(self) -> AllowedHosts:
        """Hosts where bundles may ask their models."""
        return AllowedHosts(self.endpoint_hosts, self.endpoint_ca)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options win over the environment; secrets may stand in files that it names."""
        return init_settings, env_settings, SecretFiles(settings_cls, SECRETS)

    @property
    def multi_process(self) -> bool:
        """Whether the service consists of several processes."""
        return bool(self.http_workers or self.devices)

    @property
    def engine_devices(self) -> tuple[str, ...]:
        """Devices with an engine process, which computes for all HTTP workers; none: each worker computes itself."""
        if self.devices or not self.http_workers or self.device == "cpu":
            return self.devices
        return (self.device,)  # a GPU has room for one copy of the models, not for one per worker

    @property
    def rows_per_process(self) -> int:
        """Rows that one HTTP process may have in work, on each device: its share, and room for the largest request."""
        return max(-(-self.queue_size // max(1, self.http_workers)), 2 * self.max_items_per_request)

    @property
    def keyless(self) -> bool:
        """Whether prediction, feedback and reading need no key."""
        return self.api_keys is None

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the service."""
        return self.host in LOCAL

    @property
    def request_pixels(self) -> int:
        """Most pixels that all images of a request may claim together."""
        return self.max_request_pixels or 4 * self.max_pixels

    @field_validator(
        "models",
        "allow_factories",
        "endpoint_hosts",
        "receipt_keys",
        "trusted_keys",
        "trusted_history_keys",
        "devices",
        "allowed_hosts",
        "proxy_hosts",
        "guard_keys",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("guard", mode="before")
    @classmethod
    def _rules(cls, value: object) -> object:
        document = json.loads(value) if isinstance(value, str) else value
        if document is not None:
            GuardRules.from_dict(document)
        return document

    @field_validator("declared_groups", mode="before")
    @classmethod
    def _document(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("endpoint_hosts")
    @classmethod
    def _entries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            HostEntry.of_text(each)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [each for each in value if not _HOST.fullmatch(each)]:
            raise ValueError(f"{wrong[0]!r} is no host name: give it without scheme and port, such as shop.example")
        return value

    @field_validator("proxy_hosts")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ip_network(each)
            except ValueError as error:
                raise ValueError(f"{each!r} is neither an IP address nor a network: {error}") from error
        return value

    @field_validator("webhook_url")
    @classmethod
    def _http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in ("http", "https"):
            raise ValueError("webhook_url must begin with http:// or https://")
        return value

    @model_validator(mode="after")
    def _one_process_for_grpc(self) -> Self:
        if self.grpc_port is not None and self.multi_process:
            raise ValueError(
                "grpc_port is for a service of one process, http_workers and devices make several: leave one of them "
                "out, or start several services behind a balancer"
            )
        if self.grpc_port and self.grpc_port in (self.port, self.admin_port):
            raise ValueError(f"grpc_port is {self.grpc_port}, as port or admin_port is: choose another")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.queue_size < 2 * self.max_items_per_request:
            need = 2 * self.max_items_per_request
            raise ValueError(
                f"queue_size is {self.queue_size}, but one request of {self.max_items_per_request} items with twins "
                f"needs {need} places: raise queue_size or lower max_items_per_request"
            )
        if self.admin_port and self.admin_port == self.port:
            raise ValueError(f"admin_port is {self.admin_port}, as port is: choose another, or leave it out")
        if self.devices and "device" in self.model_fields_set:
            raise ValueError(f"device is {self.device} and devices is {','.join(self.devices)}: leave one of them out")
        if wrong := [each for each in self.devices if not _DEVICE.match(each) and self.devices != ALL_DEVICES]:
            raise ValueError(f"devices has {wrong[0]!r}: name each as cpu, cuda or cuda:1, or say all, alone")
        if self.guard_keys and self.keyless and self.admin_token is None:
            raise ValueError("guard_keys names keys, but there are none: give api_keys, or leave it out")
        if self.max_request_pixels is not None and self.max_request_pixels < self.max_pixels:
            raise ValueError(
                f"max_request_pixels is {self.max_request_pixels}, but one image may claim {self.max_pixels}: "
                "raise it or lower max_pixels"
            )
        if self.ledger and "://" in self.ledger.get_secret_value() and not self.receipt_keys:
            raise ValueError(
                "ledger is shared by several machines, so they need the same receipt_keys: "
                "make one with `openssl rand -base64 32` and give it to all of them"
            )
        return self
