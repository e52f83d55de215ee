"""The one place where ToneTrack is configured: `TONETRACK_*` in the environment, checked at start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.logs import Form
from pipeline.purposes import FORBIDDEN, Purpose
from pipeline.session import LANGUAGE, DiariserName

Port = Annotated[int, Field(ge=1, le=65_535)]


class Settings(BaseSettings):
    """Every setting has a safe default but the secrets, which have none."""

    model_config = SettingsConfigDict(env_prefix="TONETRACK_", extra="forbid")

    host: str = Field("127.0.0.1", description="address that the page and the API listen on; 0.0.0.0 for all")
    port: Port = Field(8000, description="port of the API and the recorder's WebSocket")
    ui_port: Port = Field(5006, description="port of the page")
    api_url: str = Field("", description="where browsers reach the API; empty: the page's own host, at `port`")
    allowed_origins: list[str] = Field(
        default_factory=list,
        description="pages that may use the API besides those on ui_port and port of its host, as https://HOST[:PORT]",
    )

    redis_url: SecretStr | None = Field(None, description="redis:// URL; none: an embedded Redis is started")
    retention: float = Field(
        86_400, ge=60, le=3e8, description="seconds after its last sound at which a session is erased"
    )
    abandon: float = Field(
        600, ge=10, le=3e8, description="seconds without a recorder after which a session ends and its sound is erased"
    )

    refused_purposes: list[Purpose] = Field(
        default=list(FORBIDDEN), description="purposes that are not taken, as JSON; [] takes all: see PRIVACY.md"
    )
    require_api_keys: bool = Field(
        False, description="whether sessions, voices and uploads take an API key; see `tonetrack keys`"
    )
    sessions_per_minute: int = Field(
        120, ge=1, description="sessions that one caller may open: an API key or, without one, an address"
    )
    uploads_per_minute: int = Field(120, ge=1, description="recordings that one caller may upload")
    recordings_per_caller: int = Field(
        500, ge=1, description="recordings of one caller that may be on their way, wait or be heard at once"
    )
    voices_per_minute: int = Field(30, ge=1, description="voices that one caller may enrol")
    recorders_per_caller: int = Field(48, ge=1, description="live recorders that one caller may have at once")
    streams_per_caller: int = Field(500, ge=1, description="event streams that one address may follow at once")
    streams_per_session: int = Field(64, ge=1, description="event streams that may be open on one session at once")
    requests_per_minute: int = Field(
        600, ge=1, description="requests that one address gets answered under one key of sessions or recordings"
    )
    wrong_keys_per_minute: int = Field(60, ge=1, description="wrong keys of any kind that an address may try")
    pages_per_minute: int = Field(60, ge=1, description="pages that an address may open, reloads included")
    pages_per_caller: int = Field(128, ge=1, description="pages that an address may have open at once")

    max_sessions: int = Field(64, ge=1, description="live recorders per ingress replica; more are asked to wait")
    max_lag: float = Field(
        0.5,
        gt=0,
        description="seconds by which hearing may be late, for half of all, before a few hops are heard together;"
        " newcomers are asked to wait meanwhile",
    )
    max_busy: float = Field(
        0.8,
        gt=0,
        le=1,
        description="share of the processors beyond which newcomers are asked to wait, where more than 8 talk with a"
        " session actor; 1: never",
    )
    max_waiting: int = Field(256, ge=1, description="connections per ingress replica that have not said hello yet")
    max_frame_bytes: int = Field(
        65_536, ge=3_200, le=2**20 - 4, description="largest audio frame on the WebSocket, whose messages have 1 MiB"
    )
    heartbeat: float = Field(10, gt=0, description="seconds between a recorder's signs of life; three missing close")

    diariser: DiariserName = Field(
        "local", description="who tells speakers apart, unless a session says otherwise; google falls back to local"
    )
    google_language: str = Field(
        "en-US", min_length=2, pattern=LANGUAGE, description="language of a session that names none, as BCP 47"
    )
    google_model: str = Field("", description="recognition model of Google's, as latest_long; empty: Google's choice")
    google_endpoint: str = Field("", description="host:port of a proxy before Google; empty: Google's own")
    google_insecure: bool = Field(False, description="speak to google_endpoint without TLS and credentials")
    google_deadline: float = Field(
        25,
        gt=0,
        le=480,
        description="seconds that Google may take for one answer; a chunk, and so a question, takes 30",
    )

    blobs: str = Field(
        "",
        description="where uploaded sound lies: a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX; empty: a folder of"
        " the service's own",
    )
    max_upload_bytes: int = Field(2 * 2**30, ge=1_000, description="largest file that is taken")
    max_recording_seconds: float = Field(6 * 3_600, ge=1, le=86_400, description="longest recording that is taken")
    max_queued: int = Field(10_000, ge=1, description="recordings that may wait; more are asked to come later")
    recording_tries: int = Field(
        3, ge=1, description="times that a recording is begun without getting further before it is given up"
    )
    recording_min_workers: int = Field(1, ge=1, description="recordings heard at once, when little waits")
    recording_max_workers: int = Field(2, ge=1, description="recordings heard at once, when much waits")
    recording_cpus: float = Field(0.1, ge=0)
    recording_at_once: int = Field(2, ge=1, le=64, description="segments of one recording that are heard at once")
    webhook_private: bool = Field(
        False, description="webhooks may go to private addresses: whoever uploads then reaches what this server reaches"
    )

    ingress_cpus: float = Field(0.2, ge=0)
    session_actors: int = Field(1, ge=1, description="actors that hold the live sessions")
    session_cpus: float = Field(0.1, gt=0, description="of one such actor; above 0 keeps it off a head without CPUs")
    snapshot_seconds: float = Field(5, gt=0, description="conversation seconds between snapshots")
    diariser_replicas: int = Field(1, ge=1)
    diariser_cpus: float = Field(0.5, ge=0)
    emotion_min_replicas: int = Field(1, ge=1)
    emotion_max_replicas: int = Field(2, ge=1)
    emotion_cpus: float = Field(0.5, ge=0)
    emotion_gpus: float = Field(0, ge=0, description="GPUs of one emotion replica; a fraction shares a card")
    metrics_port: int = Field(0, ge=0, le=65_535, description="port of Prometheus metrics; 0: one that is free")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    traces: str = Field(
        "",
        description="where spans of requests go: a file or a collector (http://HOST:4318/v1/traces); empty: nowhere",
    )
    log_format: Form = Field("text", description="text, or json: an object a line, for what collects logs")

    @field_validator("redis_url", mode="before")
    @classmethod
    def _empty_is_none(cls, url: object) -> object:
        return url or None

    @field_validator("api_url")
    @classmethod
    def _speaks_http(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("an API URL starts with http:// or https://")
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.emotion_min_replicas > self.emotion_max_replicas:
            raise ValueError("emotion_min_replicas is above emotion_max_replicas")
        if self.recording_min_workers > self.recording_max_workers:
            raise ValueError("recording_min_workers is above recording_max_workers")
        if self.google_insecure and not self.google_endpoint:
            raise ValueError("google_insecure needs a google_endpoint: Google's own takes nothing in the clear")
        return self

    @field_validator("redis_url")
    @classmethod
    def _speaks_redis(cls, url: SecretStr | None) -> SecretStr | None:
        schemes = ("redis://", "rediss://", "unix://")
        if url is not None and not url.get_secret_value().startswith(schemes):
            raise ValueError(f"a Redis URL starts with one of {', '.join(schemes)}")
        return url

    @property
    def blob_url(self) -> str:
        """Where uploaded sound lies: what was set, or a folder where this user's programs keep their data."""
        home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        return self.blobs or str(home / "tonetrack" / "recordings")

    @property
    def redis_address(self) -> str:
        """The Redis URL. Raises `ValueError` where none is set."""
        if self.redis_url is None:
            raise ValueError("TONETRACK_REDIS_URL is not set; `tonetrack up` starts a Redis of its own where it is not")
        return self.redis_url.get_secret_value()
