"""Pictures of accepted labels on a host that tests can change, and the eyes that look at them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from backend.db.engine import Database
from backend.images.loader import Pictures
from backend.label_studio.projects import LabelStudioHosts
from backend.samples.dataset import AcceptedSamples
from backend.samples.image_check import ImageCheck
from backend.samples.ingest import SampleStore
from backend.samples.rules import Split
from backend.settings import Settings
from tests.backend.samples.studio import PROJECT, START, Studio, settle

SIZE = (64, 48)


@dataclass
class Team:
    """A team's project whose pictures lie on the tests' host."""

    studio: Studio
    store: SampleStore
    host: Any
    settings: Settings
    now: datetime = START

    @property
    def database(self) -> Database:
        return self.store.database

    def label(self, number: int, result: list[Any], *, seed: int | None = None) -> str:
        """A task with a picture of its own (by ``seed``) and an annotation; the address."""
        address = f"/files/{number}.png"
        self.host.add(address, SIZE, number if seed is None else seed)
        self.studio.task(number, address)
        settle(self.store, self.studio.submit(number, number, result), self.now)
        return address

    def pictures(self) -> Pictures:
        """As a process that has just started has them."""
        return Pictures(self.settings, LabelStudioHosts(self.settings))

    def image_check(self) -> ImageCheck:
        return ImageCheck(self.database, self.pictures(), lambda: self.now)

    def look(self) -> int:
        return self.image_check().run(seconds=60)

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def dataset(self, split: Split | None = None) -> AcceptedSamples:
        return AcceptedSamples(self.database, self.image_check(), PROJECT.key, split)

    def empty_cache(self) -> None:
        """All pictures must be fetched again."""
        for path in (self.settings.data / "pictures").glob("*/*/*"):
            path.unlink()


def settings_for(data: Path, url: str) -> Settings:
    return Settings(
        data=data,
        label_studio_url=url,
        label_studio_token=SecretStr("0123456789abcdef0123456789abcdef01234567"),
        allow_private_addresses=True,
    )
