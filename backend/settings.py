"""Every setting in one place, with the prefix ``PHRASECLICK_``, each default with its why."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Read from the environment (``PHRASECLICK_DATA`` …); the command line overrides some."""

    model_config = SettingsConfigDict(env_prefix="PHRASECLICK_", extra="ignore")

    # -- where things are
    data: Path = Field(Path("phraseclick-data"), description="Folder that holds all state.")
    database_url: str = Field(
        "", description="SQLAlchemy URL; empty: SQLite inside the data folder."
    )
    broker_url: str = Field(
        "", description="Celery broker; empty: a queue of files in the data folder."
    )
    checkpoint: str = Field(
        "shipped", description="'shipped' or the path of a checkpoint directory."
    )

    checkpoint_store: str = Field(
        "",
        description="Folder or fsspec URL (s3://…) of trained versions; empty: in the data folder.",
    )

    # -- Label Studio
    label_studio_url: str = Field(
        "", description="Empty: the one given to connect, else the one that /setup announces."
    )
    label_studio_token: SecretStr = Field(
        SecretStr(""), description="Personal access or legacy token; empty: as for the address."
    )
    local_files_root: Path | None = Field(
        None, description="LOCAL_FILES_DOCUMENT_ROOT of Label Studio, where this machine shares it."
    )

    # -- access
    basic_auth_user: str = Field("", description="With the password: guards all but /health.")
    basic_auth_password: SecretStr = Field(
        SecretStr(""), description="Password that goes with the user."
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="What /webhook asks for in X-PhraseClick-Secret; empty: the one connect made.",
    )
    # A context holds clicks and drafts with masks: some MB on large pictures, never hundreds.
    max_request_bytes: int = Field(64 * MIB, description="Largest request that is read.")

    # -- pictures
    allow_private_addresses: bool = Field(
        False, description="Fetch pictures from private and link-local addresses too."
    )
    # Label Studio gives up on a prediction after 100 s; an annotator long before.
    picture_timeout_s: float = Field(20.0, description="Seconds that a picture may take to come.")
    picture_max_bytes: int = Field(100 * MIB, description="Largest picture file that is fetched.")
    # Above this a decoded RGB picture needs more than 300 MB: a decompression bomb or a mistake.
    picture_max_pixels: int = Field(100_000_000, description="Largest picture that is decoded.")
    picture_cache_bytes: int = Field(2048 * MIB, description="Disk for pictures fetched before.")

    # -- interaction memory
    new_object: Literal["auto", "refine", "new"] = Field(
        "auto",
        description="What a lone positive click does where no '+ last object' label is.",
    )
    # Found in the config without regard to case; first match wins.
    refine_positive_label: str = Field(
        "+ last object", description="Key point label that adds to the last object."
    )
    refine_negative_label: str = Field(
        "- last object", description="Key point label that takes away from the last object."
    )
    carry_phrase: Literal["none", "target", "task"] = Field(
        "none",
        description="Whether a typed phrase outlives its object: no, within the task, or on.",
    )
    label_as_phrase: bool = Field(
        True, description="With no phrase typed, read the label's name as the phrase."
    )
    # A mask on the page before the first click swallows plain clicks (they select it), so a task
    # that is merely opened stays empty; whoever asks for many tasks at once wants masks to start
    # from. A phrase in the task's own data always gives a mask: somebody asked for that very thing.
    label_masks: Literal["never", "batch", "always"] = Field(
        "batch",
        description="Masks from label names alone: never, for several tasks at once, or always.",
    )
    # A draft can lie for a weekend and a public holiday; after that nobody clicks on.
    forget_after_days: float = Field(
        14.0, description="Days until untouched objects are forgotten."
    )

    # -- model
    device: str = Field("auto", description="'auto', 'cpu', 'cuda' or 'cuda:N'.")
    # Two cores answer a click quickest; more threads than cores fight each other.
    torch_threads: int = Field(0, description="0: as torch likes, one a core.")
    # About 3.5 MB for a picture and as much for each crop of it: twice twenty annotators' pictures
    # at hand, and the server stays at about 1 GB.
    embedding_cache_bytes: int = Field(256 * MIB, description="Memory for encoded pictures.")

    # About 10 MB each: the champions of some twenty projects, and what a rollback would lead to.
    versions_bytes: int = Field(256 * MIB, description="Memory for model versions at hand.")

    # -- learning from accepted labels
    learn: bool = Field(True, description="Fine-tune by itself when enough labels are new.")
    # A day's work of one annotator is some hundred; below twenty nothing can be proved better.
    learn_after_labels: int = Field(20, ge=1, description="New labels that start a training.")
    # A burst of submits is one training, and the last label of a burst is in it.
    learn_debounce_s: float = Field(60.0, ge=0, description="Quiet seconds before it starts.")
    learn_minutes: float = Field(
        6.0, gt=0, description="Longest time that a training learns, evaluation not counted."
    )
    replay: str = Field(
        "", description="Data set of the base to rehearse; empty: hold on to the base's answers."
    )
    gate_set: str = Field(
        "", description="Data set that guards what was known; empty: the one that ships."
    )
    # Two threads would take both cores of a small machine from whoever clicks.
    training_threads: int = Field(1, ge=1, description="CPU threads of a training.")
    training_nice: int = Field(10, ge=0, le=19, description="How far a training stands back.")
    training_device: str = Field("auto", description="As device; 'cpu' leaves a GPU to serving.")
    training_gpu_share: float = Field(
        0.5, gt=0, le=1, description="Part of the GPU's memory that a training may take."
    )
    # On two cores a training takes some minutes and a large re-scoring an hour or two.
    longest_job_hours: float = Field(6.0, gt=0, description="A job that takes longer is ended.")
    # A worker that is busy beats every few seconds; three times as long it is taken for dead.
    lease_s: float = Field(45.0, gt=0, description="Silence after which a worker is given up.")
    acquisition: Literal["clicks", "saving", "uncertainty", "off"] = Field(
        "saving", description="What orders the tasks that are left, or 'off'."
    )
    score_masks: bool = Field(False, description="Write masks into the re-scored predictions, too.")

    # -- reports
    # About 3 KB a mask: 100,000 interactions are 300 MB.
    keep_masks_days: float = Field(
        90.0, ge=0, description="Days for which served masks are kept to be looked at."
    )

    @property
    def resolved_database_url(self) -> str:
        """The database's URL, SQLite in the data folder unless told otherwise."""
        return self.database_url or f"sqlite:///{self.data.resolve() / 'phraseclick.db'}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Settings of this process, read once."""
    return Settings()
