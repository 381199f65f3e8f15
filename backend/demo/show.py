"""The demonstration: start the servers, connect a project, label photographs, run one round of
learning, and stop everything.
"""

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
from backend.demo.scenes import PHOTOGRAPHS, SCENES, Photograph, Step, overlap, play, save_overlay
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
# The server answers once its model is loaded: some seconds, more on a slow disk.
_BACKEND_SECONDS = 120.0


class Show:
    """One run. Its state is in a temporary folder, which is deleted at the end."""

    def __init__(self, folder: Path, program: Path | None = None, *, learns: bool = True) -> None:
        """learns: also show the learning loop."""
        self._folder = folder
        self._learns = learns
        self._program = program
        # In a file or a pipe the table must not be as narrow as the default terminal.
        self._console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
        self._steps: list[Step] = []
        self._learned: loop.LoopResult | None = None

    def run(self, *, stay: bool) -> bool:
        """Run the demonstration; whether all steps succeeded."""
        with _signals_as_interrupts(), ExitStack() as open_:
            try:
                good = self._perform(open_, stay=stay)
            except KeyboardInterrupt:
                self._say("Stopping Label Studio and the backend …")
                open_.close()
                self._say("Stopped.")
                # Ctrl-C after the table is the normal end; before it, the run is incomplete.
                good = bool(self._steps) and self._succeeded()
        return good

    def _perform(self, open_: ExitStack, *, stay: bool) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        state = Path(tempfile.mkdtemp(prefix="state-", dir=self._folder)).resolve()
        open_.callback(shutil.rmtree, state, ignore_errors=True)
        # Both need some seconds, so they start at the same time.
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
        good = self._succeeded()
        self._show_addresses(server, project, seen, good=good)
        if stay:
            self._stay(server, backend)
        return good

    # -- servers

    @contextmanager
    def _start_backend(self, data: Path, port: int) -> Iterator[Child]:
        environment = {
            name: value
            for name, value in os.environ.items()
            # The defaults, not the settings of the user's own backend.
            if not name.startswith("PHRASECLICK_")
            or name in ("PHRASECLICK_CHECKPOINT", "PHRASECLICK_DEVICE")
        }
        environment["PHRASECLICK_LEARN_DEBOUNCE_S"] = str(loop.DEBOUNCE_S)
        environment["PHRASECLICK_TRAINING_THREADS"] = str(loop.TRAINING_THREADS)
        command = [sys.executable, "-m", "backend.cli", "up", "--port", str(port)]
        with Child(
            "The backend",
            [*command, "--data", str(data)],
            log=data / "backend.log",
            environment=environment,
        ) as child:
            yield child

    def _stay(self, server: LabelStudioServer, backend: Child) -> None:
        self._say("Press Ctrl-C to stop.")
        while True:
            time.sleep(0.5)
            for child in (server.child, backend):
                if not child.running:
                    raise DemoError(f"{child.name} stopped unexpectedly.\n{child.last_lines()}")

    # -- project

    def _make_project(
        self, studio: LabelStudio, title: str = "PhraseClick demonstration", config: str = ""
    ) -> int:
        config = config or _CONFIG.read_text(encoding="utf-8")
        project = int(studio.create_project(title, config)["id"])
        self._say(f"Created project {project}, {title}, with {_CONFIG.name}")
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
        saved = 0
        for scene in SCENES:
            photograph, pixels = scene.photograph, scene.photograph.pixels()
            size = (pixels.shape[1], pixels.shape[0])
            annotator = Annotator(studio, backend, tasks[photograph], image, photograph.label, size)
            for step in play(scene, annotator):
                self._record(step)
                saved += 1
                name = f"{saved:02}-{step.photograph}-{step.name.replace(' ', '-')}.png"
                save_overlay(self._folder / name, pixels, step)
            self._record(_submitted(studio, annotator, tasks[photograph], photograph, seen))
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
        project = self._make_project(studio, "A team with new objects", config)
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

    def _record(self, step: Step) -> None:
        self._steps.append(step)
        self._say(f"  {step.photograph}: {step.name} ({step.milliseconds:.0f} ms)")

    def _succeeded(self) -> bool:
        learned = self._learned is not None and not self._learned.wrong
        return (learned or not self._learns) and not any(step.wrong for step in self._steps)

    def _show_addresses(
        self, server: LabelStudioServer, project: int, seen: BackendProbe, *, good: bool
    ) -> None:
        if not good:
            self._say("Not all steps succeeded: see the last column.")
        self._say(f"Pictures with masks: {self._folder}/*.png")
        self._say(f"Dashboard:    {seen.url}/dashboard")
        self._say(f"Label Studio: {server.url}/projects/{project}/data")
        self._say(f"Log in as:    {server.user}   password: {server.password}")

    def _say(self, line: str) -> None:
        self._console.print(escape(line), soft_wrap=True)


def table(steps: list[Step]) -> Table:
    """The steps and their results."""
    drawn = Table(title="Labeled through Label Studio", title_justify="left")
    drawn.add_column("photograph", no_wrap=True)
    drawn.add_column("step", no_wrap=True)
    drawn.add_column("sent")
    drawn.add_column("IoU with\nstep before", justify="right")
    drawn.add_column("ms", justify="right")
    drawn.add_column("answer")
    for step in steps:
        iou = "" if step.iou is None else f"{step.iou:.3f}"
        # The first clause says what was understood; the saved pictures show the whole sentence.
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
    """Submit the mask: Label Studio must have stored it, and its event must reach the backend."""
    before = seen.deliveries("ANNOTATION_CREATED") or 0.0
    started = time.perf_counter()
    try:
        annotation = annotator.submit()
        milliseconds = (time.perf_counter() - started) * 1000
        stored = _masks(studio.task(task)["annotations"], annotation["id"])
    except PhraseClickError as error:
        return Step(photograph.name, "submit", "annotation", None, 0.0, "", str(error))
    arrived = seen.arrived("ANNOTATION_CREATED", more_than=before)
    shown = annotator.shown.mask
    iou = overlap(shown, stored[0]) if len(stored) == 1 else 0.0
    wrong = "" if arrived else "the backend received no event for the annotation"
    if iou < 0.99:
        wrong = "Label Studio stored another mask than the one shown"
    answer = "stored by Label Studio, received by webhook"
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
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP stop the demonstration like Ctrl-C."""

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
