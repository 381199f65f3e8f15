"""Label Studio with the backend connected, as the tests find it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backend.demo.label_studio_server import LabelStudioServer, label_studio
from tests.e2e.photographs import Photograph
from tests.e2e.servers import CONFIGS, Backend, LabelStudioApi, running


@dataclass
class Studio:
    """Label Studio with one project for each labeling config, all connected to the backend."""

    server: LabelStudioServer
    api: LabelStudioApi
    backend: Backend
    _projects: dict[str, int] = field(default_factory=dict)

    def project(self, config: str = "click_and_phrase", *, cup: str = "Cup") -> int:
        """The project with this shipped labeling config. cup: another name for the label Cup."""
        name = config if cup == "Cup" else f"{config} with {cup}"
        if name not in self._projects:
            written = (CONFIGS / f"{config}.xml").read_text(encoding="utf-8")
            renamed = written.replace('"Cup"', f'"{cup}"')
            self._projects[name] = self.api.project(name, renamed, self.backend)
        return self._projects[name]

    def task(
        self, photograph: Photograph, config: str = "click_and_phrase", *, cup: str = "Cup"
    ) -> int:
        """A fresh task with this photograph."""
        return self.api.upload(self.project(config, cup=cup), photograph.path)


@contextmanager
def running_studio(folder: Path) -> Iterator[Studio]:
    """Label Studio and the backend, fresh, on free ports, with their files in a folder."""
    with (
        label_studio(folder / "label-studio") as server,
        running(Backend(folder / "backend", server.url, server.token)) as backend,
    ):
        yield Studio(server, LabelStudioApi(server), backend)
