"""All settings, with the prefix ``PHRASECLICK_``. Comments explain the defaults."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024
# Longer is a mistake, and later more than a calendar holds.
_HOUR_S, _WEEK_S, _CENTURY_DAYS = 3600.0, 604_800.0, 36_525.0

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


class Settings(BaseSettings):
    """Read from the environment (``PHRASECLICK_DATA`` …); the command line overrides some."""

    # An empty variable, as a line "NAME=" of an .env file sets it, is the default.
    model_config = SettingsConfigDict(
        env_prefix="PHRASECLICK_", extra="ignore", env_ignore_empty=True, allow_inf_nan=False
    )

    # -- state
    data: Path = Field(Path("phraseclick-data"), description="Folder that holds all state.")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the data folder.")
    broker_url: str = Field(
        "", description="Celery broker; empty: a queue of files in the data folder."
    )
    checkpoint: str = Field("shipped", description="Base model: 'shipped' or a checkpoint folder.")
    checkpoint_store: str = Field(
        "",
        description="Folder or fsspec URL (s3://…) of trained versions; empty: in the data folder.",
    )

    # -- Label Studio
    label_studio_url: str = Field(
        "", description="Empty: as given to connect, else as announced by /setup."
    )
    label_studio_token: SecretStr = Field(
        SecretStr(""),
        description="Personal access or legacy token; empty: as for the address.",
    )
    local_files_root: Path | None = Field(
        None, description="LOCAL_FILES_DOCUMENT_ROOT of Label Studio, if readable on this machine."
    )

    # -- access
    basic_auth_user: str = Field(
        "", description="User name that everything except /health requires."
    )
    basic_auth_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="X-PhraseClick-Secret that /webhook requires; empty: created by connect.",
    )
    # A context holds clicks and drafts with masks: some MB on large pictures, never hundreds.
    max_request_bytes: int = Field(64 * MIB, gt=0, description="Maximum size of a request.")
    # An annotation with forty masks of six megapixels has some 20 MB. What is larger is read from
    # Label Studio's API later.
    webhook_max_bytes: int = Field(32 * MIB, gt=0, description="Maximum size of a webhook.")
    allowed_hosts: str = Field(
        "",
        description="Host names of this backend, with commas; empty: local names, addresses and "
        "the name given to connect, or any name if there is a password.",
    )

    # -- pictures
    allow_private_addresses: bool = Field(
        False, description="Also fetch pictures from private and link-local addresses."
    )
    # Label Studio waits 100 s for a prediction, annotators much less.
    picture_timeout_s: float = Field(
        20.0, gt=0, le=_HOUR_S, description="Time limit of a picture's download."
    )
    picture_max_bytes: int = Field(100 * MIB, gt=0, description="Maximum size of a picture file.")
    # Above this a decoded RGB picture needs more than 300 MB: a decompression bomb or a mistake.
    picture_max_pixels: int = Field(
        100_000_000, gt=0, description="Maximum number of pixels of a picture."
    )
    # One of the largest pictures with transparency takes 1 GB while it is decoded.
    picture_memory_bytes: int = Field(
        1024 * MIB,
        gt=0,
        description="Memory for decoding pictures, all threads of a process together.",
    )
    picture_cache_bytes: int = Field(
        2048 * MIB, ge=0, description="Disk space for downloaded pictures."
    )

    # -- interaction
    new_object: Literal["auto", "refine", "new"] = Field(
        "auto",
        description="What a single click does in configs without a '+ last object' label.",
    )
    # Compared with the config's labels ignoring case; the first match counts.
    refine_positive_label: str = Field(
        "+ last object", description="Key point label that adds to the last object."
    )
    refine_negative_label: str = Field(
        "- last object", description="Key point label that removes from the last object."
    )
    carry_phrase: Literal["none", "target", "task"] = Field(
        "none",
        description="How long a phrase holds: for its object, its task, or also the next task.",
    )
    label_as_phrase: bool = Field(
        True, description="Use the label's name as the phrase if none is typed."
    )
    # Plain clicks select a mask that is on the page already, so a task that is only opened stays
    # empty. A request for several tasks wants masks. A phrase in the task's data always gives one.
    label_masks: Literal["never", "batch", "always"] = Field(
        "batch",
        description="When to predict masks from label names; batch: for several tasks at once.",
    )
    outline_tolerance: float = Field(
        0.5, ge=0, description="Pixels by which the corners of a polygon may be off."
    )
    # Longer than a weekend with public holidays.
    forget_after_days: float = Field(
        14.0, ge=0, le=_CENTURY_DAYS, description="Days until unused objects are forgotten."
    )

    # -- model
    device: str = Field("auto", description="'auto', 'cpu', 'cuda' or 'cuda:N'.")
    # The network's layers are small: two threads take longer than one, and twice the processor.
    torch_threads: int = Field(1, ge=0, description="CPU threads per click; 0: one per core.")
    parallel_passes: int = Field(
        0,
        ge=0,
        description="Clicks answered side by side; 0: one per core, up to 4.",
    )
    # About 3.5 MB per picture and per crop: 40 annotators, and a server of about 1 GB.
    embedding_cache_bytes: int = Field(256 * MIB, ge=0, description="Memory for encoded pictures.")
    # About 10 MB each: the champions of twenty projects, and their predecessors for rollbacks.
    versions_bytes: int = Field(256 * MIB, ge=0, description="Memory for loaded model versions.")

    # -- learning from accepted labels
    learn: bool = Field(True, description="Start trainings automatically.")
    # An annotator makes about a hundred a day; with fewer than 20 no gain can be proved.
    learn_after_labels: int = Field(20, ge=1, description="New labels that start a training.")
    # So that a series of submits starts one training, which includes the last label.
    learn_debounce_s: float = Field(
        60.0, ge=0, le=_WEEK_S, description="Seconds without a new label before it starts."
    )
    learn_minutes: float = Field(
        25.0,
        gt=0,
        le=_WEEK_S / 60,
        description="Time limit of a scheduled training; others get 4 minutes at most.",
    )
    replay: str = Field(
        "", description="Data set to rehearse in trainings; empty: rehearse the base's answers."
    )
    gate_general: Literal["warn", "veto"] = Field(
        "warn", description="What a loss on the general set does to a project's candidate."
    )
    gate_set: str = Field("", description="General data set of the gate; empty: the shipped one.")
    # Two threads would slow down clicks on a machine with two cores.
    training_threads: int = Field(1, ge=1, description="CPU threads of a training.")
    training_nice: int = Field(10, ge=0, le=19, description="Niceness of the training process.")
    training_device: str = Field(
        "auto", description="Like device; 'cpu' keeps the GPU free for clicks."
    )
    training_gpu_share: float = Field(
        0.5, gt=0, le=1, description="Share of the GPU's memory that a training may use."
    )
    # On two cores a training takes minutes, scoring a large project an hour or two.
    longest_job_hours: float = Field(
        6.0, gt=0, le=_WEEK_S / 3600, description="Time limit of a job."
    )
    # A busy worker sends a heartbeat every few seconds.
    lease_s: float = Field(
        45.0,
        gt=0,
        le=_HOUR_S,
        description="Seconds without a heartbeat after which another worker takes over a job.",
    )
    acquisition: Literal["clicks", "saving", "uncertainty", "off"] = Field(
        "saving", description="Score by which remaining tasks are ordered, or 'off'."
    )
    score_masks: bool = Field(False, description="Also write masks into scored predictions.")

    # -- logs
    # An admin who starts everything in a terminal wants to see problems only.
    log_level: LogLevel = Field(
        "info",
        description="debug, info, warning or error; without this setting, `phraseclick up` logs "
        "warnings and errors only.",
    )
    log_format: LogFormat = Field("text", description="'text', or 'json': one object per line.")

    # -- reports
    # Longer than anyone looks at one object; a lunch break must not count as work.
    idle_minutes: float = Field(
        5.0,
        gt=0,
        le=_HOUR_S / 60,
        description="Pauses longer than this count as this long in reports.",
    )
    # About 3 KB per mask: 300 MB for 100,000 interactions.
    keep_masks_days: float = Field(
        90.0, ge=0, le=_CENTURY_DAYS, description="Days for which served masks are kept."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Without blanks around it. Quotes that a shell would take off are refused, since they make
        other names of files and addresses. A secret may have any characters."""
        field = cls.model_fields[str(info.field_name)]
        if not isinstance(value, str) or field.annotation is SecretStr:
            return value
        value = value.strip()
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise PydanticCustomError("unicode", "It is not text in UTF-8")
        if value[:1] in ("'", '"') and value.endswith(value[0]):
            raise PydanticCustomError("quoted", "The quotes are part of its value: leave them out")
        return value or field.default

    @field_validator("label_studio_url", "broker_url", "checkpoint_store")
    @classmethod
    def _an_address(cls, value: str) -> str:
        try:
            for one in value.split(";"):  # a broker may have several
                _ = urlsplit(one).port
        except ValueError as error:
            why = {"why": str(error)}
            raise PydanticCustomError("address", "It is not an address: {why}", why) from None
        return value

    @property
    def has_password(self) -> bool:
        """Whether every route but ``/health`` asks for a user and a password."""
        return bool(self.basic_auth_user and self.basic_auth_password.get_secret_value())

    @property
    def refine_labels(self) -> dict[str, str]:
        """The labels of the last object, as ``parse_config`` takes them."""
        return {"add_label": self.refine_positive_label, "remove_label": self.refine_negative_label}

    @property
    def resolved_database_url(self) -> str:
        """The database URL: as set, else SQLite in the data folder."""
        file = self.data.resolve() / "phraseclick.db"
        return self.database_url or f"sqlite:///{quote(str(file))}"


def unknown_variables() -> list[str]:
    """Variables of the environment that look like settings and are none: misspelled ones."""
    prefix = "PHRASECLICK_"
    return sorted(
        name
        for name in os.environ
        if name.startswith(prefix)
        and name.removeprefix(prefix).lower() not in Settings.model_fields
    )


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
