"""What the page reads from the environment; the service's other settings are none of its business."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.logs import Form
from pipeline.purposes import FORBIDDEN, Purpose


class PageSettings(BaseSettings):
    """The `TONETRACK_*` variables that concern the page."""

    model_config = SettingsConfigDict(env_prefix="TONETRACK_", extra="ignore")

    redis_url: SecretStr = Field(description="redis:// URL of the store that the sessions live in")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for viewers on other machines")
    ui_port: int = Field(5006, ge=1, le=65_535, description="port of the page")
    port: int = Field(8000, ge=1, le=65_535, description="port of the API, which takes the recorder's audio")
    api_url: str = Field("", description="where browsers reach the API; empty: the page's own host, at `port`")
    require_api_keys: bool = Field(False, description="whether the API takes an API key for what the page begins")
    wrong_keys_per_minute: int = Field(60, ge=1, description="wrong keys that an address may try")
    pages_per_minute: int = Field(60, ge=1, description="pages that an address may open, reloads included")
    pages_per_caller: int = Field(128, ge=1, description="pages that an address may have open at once")
    diariser: Literal["local", "google"] = Field(
        "local", description="who tells speakers apart, unless a session says otherwise"
    )
    retention: float = Field(86_400, gt=0, description="seconds without use after which a session is erased")
    refused_purposes: list[Purpose] = Field(default=list(FORBIDDEN), description="purposes that are not taken")
    log_format: Form = Field("text", description="text, or json: an object a line, for what collects logs")

    def api_origin(self, host: str) -> str:
        """Where a page of this host asks the API."""
        if not self.api_url:
            return f"http://{host}:{self.port}"
        parts = urlsplit(self.api_url)
        return f"{parts.scheme}://{parts.netloc}"
