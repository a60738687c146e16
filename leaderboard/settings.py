"""Configuration: environment variables with the prefix SSL_BENCH_SITE_, or a `.env` file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from platformdirs import user_data_dir
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from benchmark.errors import SslBenchError

PREFIX = "SSL_BENCH_SITE_"


class Settings(BaseSettings):
    """Everything that differs between one installation and another."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        ignored_types=(cached_property,),
    )

    home: Path = Field(
        default_factory=lambda: Path(user_data_dir("ssl-bench")) / "site",
        description="folder of the database, the uploads and the keys",
    )
    database_url: str = Field(
        "", description="SQLAlchemy URL; empty: SQLite in `home`. postgresql+psycopg://... to scale"
    )
    storage_url: str = Field(
        "", description="where uploads are kept: empty for `home`/uploads, or any fsspec URL"
    )
    migrate_on_start: bool = Field(True, description="bring the database to this version's schema")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    processes: int = Field(1, ge=1, le=64, description="web processes that share the port")
    base_url: str = Field(
        "", description="public address, for links in feeds and badges; empty: from the request"
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="addresses whose X-Forwarded-* headers are believed, comma-separated",
    )
    title: str = "ssl-bench"
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    log_json: bool = Field(True, description="one JSON object per line; false: for people")
    https: bool = Field(False, description="cookies only over HTTPS, and HSTS")

    session_hours: float = Field(24 * 14, gt=0, description="how long a browser stays signed in")
    token_days: int = Field(365, ge=1, description="the longest life of a token")
    invitation_days: int = Field(14, ge=1, description="how long an invitation is good for")
    requests_per_minute: int = Field(
        300, ge=1, description="of one token or signed-in browser, reads of public pages aside"
    )
    checks_per_hour: int = Field(
        60, ge=1, description="files of one person that are looked into, refused ones included"
    )
    attempts_per_hour: int = Field(
        20, ge=1, description="wrong passwords, tokens or invitations from one address"
    )
    upload_mib: int = Field(4096, ge=1, description="largest file that may be sent")
    uploads_mib_per_user: int = Field(
        20_480, ge=1, description="what one person's stored and unfinished files may add up to"
    )
    upload_hours: float = Field(48, gt=0, description="how long an unfinished upload is kept")
    upload_stall_seconds: float = Field(
        30, gt=0, description="an upload from which nothing comes for so long is cut off"
    )
    upload_bytes_per_second: int = Field(
        4096, ge=0, description="an upload that is slower on average, after a minute, is cut off"
    )
    free_mib: int = Field(512, ge=0, description="disk that uploads leave free")
    submissions_per_day: int = Field(20, ge=0, description="of one person, unless set for them")
    cache_mib: int = Field(64, ge=0, description="memory for answers that are kept, MiB")
    cache_seconds: float = Field(
        0.5, ge=0, description="how long a publication may take to be seen by readers"
    )
    cache_stale_seconds: float = Field(
        10, ge=0, description="how long a busy server may answer with what it has kept"
    )
    default_suite: str = Field("starter", description="the suite that the home page opens with")
    data_dir: Path | None = Field(None, description="datasets of the tasks, as for --data-dir")

    evaluation_database_url: str = Field(
        "", description="where workflows are kept; empty: SQLite in `home`, or the same PostgreSQL"
    )
    signing_key: Path | None = Field(
        None, description="private key that signs results; empty: `home`/keys/signing.pem"
    )
    worker_device: str = Field("auto", description="cpu, cuda, cuda:1, ... or auto")
    worker_concurrency: int = Field(1, ge=1, description="submissions that a worker runs at once")
    worker_threads: int = Field(1, ge=1, description="of a step; results state their number")
    worker_poll_seconds: float = Field(1.0, gt=0)
    worker_lost_seconds: float = Field(
        60.0, ge=2, description="silence after which a worker's submissions go to another"
    )
    running_per_submitter: int = Field(2, ge=1, description="submissions running at once")
    step_attempts: int = Field(3, ge=1)
    step_retry_seconds: float = Field(10.0, ge=0, description="before the second attempt")
    step_interruptions: int = Field(
        20, ge=1, description="how often a step may be begun anew after its worker was lost"
    )
    step_batch_size: int = Field(32, ge=1)
    step_memory_gib: float = Field(12.0, gt=0, description="address space; on a GPU: resident")
    step_cpu_seconds: int = Field(8 * 3600, ge=1)
    step_wall_seconds: float = Field(2 * 3600.0, gt=0)
    step_disk_gib: float = Field(32.0, gt=0)
    step_processes: int = Field(128, ge=1, description="processes and threads")
    sandbox_uid: int = Field(
        0, ge=0, description="user id of steps when started as root; 0: one of its own for each"
    )
    sandbox_namespaces: bool = Field(True, description="false where the kernel's are not wanted")

    @cached_property
    def evaluation_database(self) -> str:
        """The SQLAlchemy URL of DBOS's tables."""
        if self.evaluation_database_url or not self.database.startswith("sqlite"):
            return self.evaluation_database_url or self.database
        return f"sqlite:///{(self.home / 'evaluation.db').resolve()}"

    @cached_property
    def signing_key_file(self) -> Path:
        return self.signing_key or self.home / "keys" / "signing.pem"

    @cached_property
    def database(self) -> str:
        """The SQLAlchemy URL in use."""
        url = self.database_url or f"sqlite:///{(self.home / 'site.db').resolve()}"
        for scheme in ("postgres://", "postgresql://"):  # what other tools call the same thing
            if url.startswith(scheme):
                url = "postgresql+psycopg://" + url.removeprefix(scheme)
        return url

    @cached_property
    def storage(self) -> str:
        """The fsspec URL of the uploads."""
        return self.storage_url or f"file://{(self.home / 'uploads').resolve()}"


def load_settings(**values: object) -> Settings:
    """Settings from the environment, with `values` on top.

    Raises:
        SslBenchError: a variable that does not parse; names it.
    """
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise SslBenchError(f"{PREFIX}{name.upper()}: {problem['msg']}") from None
