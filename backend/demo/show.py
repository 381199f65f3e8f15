"""The demonstration from start to end: servers up, projects connected, scenes played, the learning
loop shown, all down."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend.demo import loop
from backend.demo.annotator import Annotator
from backend.demo.label_studio_server import LabelStudioServer, label_studio
from backend.demo.overlay import save_overlay
from backend.demo.photographs import PHOTOGRAPHS, Photograph
from backend.demo.story import SCENES, Step, overlap, play
from backend.errors import DemoError
from backend.label_studio import rle
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import LabelConfig
from backend.label_studio.credentials import Credentials, save_credentials
from backend.label_studio.diagnostics import Diagnostics
from backend.label_studio.probe import BackendProbe
from backend.settings import Settings
from backend.worker.child_process import Child, free_port
from model.errors import PhraseClickError

_CONFIG = Path(__file__).resolve().parents[2] / "plugin_config" / "click_and_phrase.xml"
# The model is loaded before the first answer: some seconds, on a slow disk many.
_BACKEND_SECONDS = 120.0


class Show:
    """One run. All state lies in a fresh folder that goes when the run ends well."""

    def __init__(self, folder: Path, program: Path | None = None, *, learns: bool = True) -> None:
        """learns: show the learning loop, too."""
        self._folder = folder
        self._learns = learns
        self._program = program
        # Into a file or a pipe the table is as wide as it needs to be, not as a terminal of old.
        self._console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
        self._steps: list[Step] = []
        self._learned: loop.Shown | None = None

    def run(self, *, stay: bool) -> bool:
        """Show everything; whether all of it went as it should."""
        with _ended_by_signals(), ExitStack() as open_:
            try:
                good = self._perform(open_, stay=stay)
            except KeyboardInterrupt:
                self._say("Ending Label Studio and the backend …")
                open_.close()
                self._say("Ended.")
                # Ctrl-C after the table is how a visitor leaves; before it, the show was cut short.
                good = bool(self._steps) and self._all_well()
        return good

    def _perform(self, open_: ExitStack, *, stay: bool) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        state = Path(tempfile.mkdtemp(prefix="state-", dir=self._folder)).resolve()
        open_.callback(shutil.rmtree, state, ignore_errors=True)
        # Both need some seconds, so both start at once.
        port = free_port()
        backend = open_.enter_context(self._start_backend(state / "backend", port))
        self._say("Starting Label Studio and the backend")
        server = open_.enter_context(
            label_studio(state / "label-studio", program=self._program, progress=self._say)
        )
        settings = Settings(data=state / "backend")
        seen = BackendProbe(f"http://127.0.0.1:{port}", settings)
        backend.wait_until(
            lambda: bool(seen.ask_version()),
            seconds=_BACKEND_SECONDS,
            progress=self._say,
            doing="The backend loads its model",
        )
        studio = LabelStudio(server.url, server.token)
        project = self._make_project(studio)
        tasks = self._import(studio, project)
        self._connect(studio, project, seen, settings, server)
        self._play(studio, project, tasks, seen)
        if self._learns:
            self._learn(studio, seen, settings, server)
        good = self._all_well()
        self._say_where(server, project, seen, good=good)
        if stay:
            self._stay(server, backend)
        return good

    # -- servers

    @contextmanager
    def _start_backend(self, data: Path, port: int) -> Iterator[Child]:
        mine = {
            name: value
            for name, value in os.environ.items()
            # Embedded defaults, whatever a user has set for a backend of theirs.
            if not name.startswith("PHRASECLICK_")
            or name in ("PHRASECLICK_CHECKPOINT", "PHRASECLICK_DEVICE")
        }
        mine["PHRASECLICK_LEARN_DEBOUNCE_S"] = str(loop.DEBOUNCE_S)
        mine["PHRASECLICK_LEARN_MINUTES"] = str(loop.LEARN_MINUTES)
        command = [sys.executable, "-m", "backend.cli", "up", "--port", str(port)]
        with Child(
            "The backend",
            [*command, "--data", str(data)],
            log=data / "backend.log",
            environment=mine,
        ) as child:
            yield child

    def _stay(self, server: LabelStudioServer, backend: Child) -> None:
        self._say("Both stay up until you press Ctrl-C.")
        while True:
            time.sleep(0.5)
            for child in (server.child, backend):
                if not child.running:
                    raise DemoError(f"{child.name} has ended by itself.\n{child.last_lines()}")

    # -- project

    def _make_project(
        self, studio: LabelStudio, title: str = "PhraseClick demonstration", config: str = ""
    ) -> int:
        config = config or _CONFIG.read_text(encoding="utf-8")
        project = int(studio.create_project(title, config)["id"])
        self._say(f"Made project {project}, {title}, with {_CONFIG.name}")
        return project

    def _import(self, studio: LabelStudio, project: int) -> dict[Photograph, int]:
        tasks = {}
        for photograph in PHOTOGRAPHS:
            (tasks[photograph],) = studio.upload(project, photograph.file, photograph.content())
        self._say(f"Imported {len(tasks)} photographs")
        return tasks

    def _connect(
        self,
        studio: LabelStudio,
        project: int,
        seen: BackendProbe,
        settings: Settings,
        server: LabelStudioServer,
    ) -> None:
        save_credentials(settings, project, Credentials(server.url, server.token, seen.url))
        for finding in Diagnostics(studio, project, seen.url, settings, seen).connect():
            self._say(f"  {finding.about}: {finding.sentence}")
            if finding.good is False:
                raise DemoError(f"The backend could not be connected: {finding.sentence}")

    # -- scenes

    def _play(
        self, studio: LabelStudio, project: int, tasks: dict[Photograph, int], seen: BackendProbe
    ) -> None:
        image = LabelConfig.parse(studio.project(project)["label_config"]).images[0]
        backend = int(studio.ml_backends(project)[0]["id"])
        for old in self._folder.glob("*.png"):
            old.unlink()
        for scene in SCENES:
            photograph, pixels = scene.photograph, scene.photograph.pixels()
            size = (pixels.shape[1], pixels.shape[0])
            annotator = Annotator(studio, backend, tasks[photograph], image, photograph.label, size)
            for step in play(scene, annotator):
                self._note(step)
                name = f"{len(self._steps):02}-{step.photograph}-{step.name.replace(' ', '-')}.png"
                save_overlay(self._folder / name, pixels, step)
            self._note(_submitted(studio, annotator, tasks[photograph], photograph, seen))
        self._console.print(table(self._steps))

    # -- learning

    def _learn(
        self,
        studio: LabelStudio,
        seen: BackendProbe,
        settings: Settings,
        server: LabelStudioServer,
    ) -> None:
        config = loop.labeling_config(_CONFIG.read_text(encoding="utf-8"))
        project = self._make_project(studio, "A team with things of its own", config)
        self._connect(studio, project, seen, settings, server)
        learning = loop.Loop(
            studio,
            project,
            settings,
            serves=lambda: seen.ask_version(project),
            console=self._console,
            say=self._say,
        )
        try:
            self._learned = learning.run(self._folder)
        finally:
            learning.close()
        if self._learned.wrong:
            self._say(f"The learning loop: {self._learned.wrong}.")

    def _note(self, step: Step) -> None:
        self._steps.append(step)
        self._say(f"  {step.photograph}: {step.name} ({step.milliseconds:.0f} ms)")

    def _all_well(self) -> bool:
        learned = self._learned is not None and not self._learned.wrong
        return (learned or not self._learns) and not any(step.wrong for step in self._steps)

    def _say_where(
        self, server: LabelStudioServer, project: int, seen: BackendProbe, *, good: bool
    ) -> None:
        if not good:
            self._say("Not every step went as it should: see the last column.")
        self._say(f"Pictures with the masks: {self._folder}/*.png")
        self._say(f"Dashboard:    {seen.url}/dashboard")
        self._say(f"Label Studio: {server.url}/projects/{project}/data")
        self._say(f"Log in as:    {server.user}   password: {server.password}")

    def _say(self, line: str) -> None:
        self._console.print(escape(line), soft_wrap=True)


def table(steps: list[Step]) -> Table:
    """What was done, and what came of it."""
    drawn = Table(title="Labelled through Label Studio", title_justify="left")
    drawn.add_column("photograph", no_wrap=True)
    drawn.add_column("step", no_wrap=True)
    drawn.add_column("sent")
    drawn.add_column("IoU with\nstep before", justify="right")
    drawn.add_column("ms", justify="right")
    drawn.add_column("answer")
    for step in steps:
        iou = "" if step.iou is None else f"{step.iou:.3f}"
        # The first clause says what was understood; the pictures carry the whole sentence.
        answer = escape(step.answer.partition(";")[0])
        if step.wrong:
            answer = f"[red]{escape(step.wrong)}[/]"
        drawn.add_row(
            step.photograph,
            step.name,
            escape(step.sent),
            iou,
            f"{step.milliseconds:.0f}",
            answer,
        )
    return drawn


def _submitted(
    studio: LabelStudio, annotator: Annotator, task: int, photograph: Photograph, seen: BackendProbe
) -> Step:
    """Submit what is shown: it must stand in Label Studio, and its event must reach the backend."""
    before = seen.deliveries("ANNOTATION_CREATED") or 0.0
    started = time.perf_counter()
    try:
        annotation = annotator.submit()
        milliseconds = (time.perf_counter() - started) * 1000
        kept = _masks(studio.task(task)["annotations"], annotation["id"])
    except PhraseClickError as error:
        return Step(photograph.name, "submit", "annotation", None, 0.0, "", str(error))
    arrived = seen.arrived("ANNOTATION_CREATED", more_than=before)
    shown = annotator.shown.mask
    iou = overlap(shown, kept[0]) if len(kept) == 1 else 0.0
    wrong = "" if arrived else "the backend was not told of the annotation"
    if iou < 0.99:
        wrong = "Label Studio does not hold the mask that was shown"
    answer = "kept by Label Studio, told by webhook"
    return Step(photograph.name, "submit", "annotation", iou, milliseconds, answer, wrong)


def _masks(annotations: list[dict[str, Any]], wanted: int) -> list[np.ndarray[Any, Any]]:
    return [
        rle.decode(region["value"]["rle"], region["original_width"], region["original_height"])
        for annotation in annotations
        if annotation["id"] == wanted
        for region in annotation["result"]
        if "rle" in region["value"]
    ]


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the show as Ctrl-C does: in order."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
