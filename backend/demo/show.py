"""The demonstration: start the servers, connect a project, label photographs, run one round of
learning, and stop everything.
"""

import signal
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend.demo.label_studio_server import LabelStudioServer, label_studio
from backend.demo.loop import DEBOUNCE_S, TRAINING_THREADS, Loop
from backend.demo.scenes import (
    PHOTOGRAPHS,
    SCENES,
    Annotator,
    Photograph,
    Step,
    play,
    save_overlay,
)
from backend.demo.team import LABEL
from backend.errors import DemoError
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import parse_config
from backend.label_studio.credentials import Credentials, save_credentials
from backend.label_studio.diagnostics import Diagnostics
from backend.label_studio.probe import BackendProbe
from backend.settings import Settings
from backend.worker.child_process import Child, default_settings, free_port
from model.errors import PhraseClickError

_CONFIG = Path(__file__).resolve().parents[2] / "plugin_config" / "click_and_phrase.xml"
# The server answers once its model is loaded: some seconds, more on a slow disk.
_BACKEND_SECONDS = 120.0


@dataclass(frozen=True)
class _Running:
    """The servers of a demonstration, and the ways to speak with them."""

    server: LabelStudioServer
    backend: Child
    studio: LabelStudio
    settings: Settings
    seen: BackendProbe


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
        self._loop_problem = "it was interrupted" if learns else ""

    def run(self, *, stay: bool) -> bool:
        """Run the demonstration; whether all steps succeeded."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)  # as Ctrl-C
        with ExitStack() as open_:
            try:
                running = self._start(open_)
                project = self._show_photographs(running)
                if self._learns:
                    self._show_learning(running)
                self._show_addresses(running, project)
                if stay:
                    self._stay(running)
                return self._succeeded()
            except KeyboardInterrupt:
                self._say("Stopping Label Studio and the backend …")
                open_.close()
                self._say("Stopped.")
        # Ctrl-C after the table is the normal end; before it, the run is incomplete.
        return bool(self._steps) and self._succeeded()

    # -- servers

    def _start(self, open_: ExitStack) -> _Running:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(
            prefix="state-", dir=self._folder, ignore_cleanup_errors=True
        )
        state = Path(open_.enter_context(temporary)).resolve()
        # Both need some seconds, so they start at the same time.
        port = free_port()
        data = state / "backend"
        command = [sys.executable, "-m", "backend.cli", "up", f"--port={port}", f"--data={data}"]
        environment = default_settings(
            LEARN_DEBOUNCE_S=DEBOUNCE_S, TRAINING_THREADS=TRAINING_THREADS
        )
        backend = open_.enter_context(
            Child("The backend", command, log=data / "backend.log", environment=environment)
        )
        self._say("Starting Label Studio and the backend")
        server = open_.enter_context(
            label_studio(state / "label-studio", program=self._program, progress=self._say)
        )
        settings = Settings(data=data)
        seen = BackendProbe(f"http://127.0.0.1:{port}", settings)
        backend.wait_until(
            lambda: bool(seen.ask_version()),
            seconds=_BACKEND_SECONDS,
            progress=self._say,
            doing="The backend loads its model",
        )
        studio = LabelStudio(server.url, server.token)
        return _Running(server, backend, studio, settings, seen)

    def _stay(self, running: _Running) -> None:
        self._say("Press Ctrl-C to stop.")
        while True:
            time.sleep(0.5)
            for child in (running.server.child, running.backend):
                if not child.running:
                    raise DemoError(f"{child.name} stopped unexpectedly.\n{child.last_lines()}")

    # -- projects

    def _make_project(self, running: _Running, title: str, config: str) -> int:
        project = int(running.studio.create_project(title, config)["id"])
        self._say(f"Created project {project}, {title}, with {_CONFIG.name}")
        return project

    def _connect(self, running: _Running, project: int) -> None:
        server, seen, settings = running.server, running.seen, running.settings
        save_credentials(settings, project, Credentials(server.url, server.token, seen.url))
        for finding in Diagnostics(running.studio, project, seen.url, settings, seen).connect():
            self._say(f"  {finding.about}: {finding.sentence}")
            if finding.good is False:
                raise DemoError(f"The backend could not be connected: {finding.sentence}")

    def _show_photographs(self, running: _Running) -> int:
        """Label photographs step by step in a new project; returns its number."""
        studio, config = running.studio, _CONFIG.read_text(encoding="utf-8")
        project = self._make_project(running, "PhraseClick demonstration", config)
        tasks = {}
        for photograph in PHOTOGRAPHS:
            (tasks[photograph],) = studio.upload(project, photograph.file, photograph.content())
        self._say(f"Imported {len(tasks)} photographs")
        self._connect(running, project)
        image = parse_config(studio.project(project)["label_config"]).images[0]
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
            self._record(_submitted(annotator, photograph, running.seen))
        self._console.print(table(self._steps))
        return project

    def _show_learning(self, running: _Running) -> None:
        # The rings' label takes the place of one that is not needed.
        config = _CONFIG.read_text(encoding="utf-8").replace('"Motorcycle"', f'"{LABEL}"')
        project = self._make_project(running, "A team with new objects", config)
        self._connect(running, project)
        learning = Loop(
            running.studio,
            project,
            running.settings,
            serves=lambda: running.seen.ask_version(project),
            console=self._console,
            say=self._say,
        )
        with closing(learning):
            self._loop_problem = learning.run(self._folder)
        if self._loop_problem:
            self._say(f"The learning loop: {self._loop_problem}.")

    def _record(self, step: Step) -> None:
        self._steps.append(step)
        self._say(f"  {step.photograph}: {step.name} ({step.milliseconds:.0f} ms)")

    def _succeeded(self) -> bool:
        return not self._loop_problem and not any(step.wrong for step in self._steps)

    def _show_addresses(self, running: _Running, project: int) -> None:
        server = running.server
        if not self._succeeded():
            self._say("Not all steps succeeded: see the last column.")
        self._say(f"Pictures with masks: {self._folder}/*.png")
        self._say(f"Dashboard:    {running.seen.url}/dashboard")
        self._say(f"Label Studio: {server.url}/projects/{project}/data")
        self._say(f"Log in as:    {server.user}   password: {server.password}")

    def _say(self, line: str) -> None:
        self._console.print(escape(line), soft_wrap=True)


def table(steps: list[Step]) -> Table:
    drawn = Table(title="Labeled through Label Studio", title_justify="left")
    for name in ("photograph", "step", "sent"):
        drawn.add_column(name, no_wrap=name != "sent")
    drawn.add_column("IoU with\nstep before", justify="right")
    drawn.add_column("ms", justify="right")
    drawn.add_column("answer")
    for step in steps:
        iou = "" if step.iou is None else f"{step.iou:.3f}"
        # The first clause says what was understood; the saved pictures show the whole sentence.
        said = escape(step.answer.partition(";")[0])
        answer = f"[red]{escape(step.wrong)}[/]" if step.wrong else said
        took = f"{step.milliseconds:.0f}"
        drawn.add_row(step.photograph, step.name, escape(step.sent), iou, took, answer)
    return drawn


def _submitted(annotator: Annotator, photograph: Photograph, seen: BackendProbe) -> Step:
    """Submit the mask; the event of its annotation must reach the backend."""
    before = seen.deliveries("ANNOTATION_CREATED") or 0.0
    started = time.perf_counter()
    try:
        annotator.submit()
    except PhraseClickError as error:
        return Step(photograph.name, "submit", "annotation", wrong=str(error))
    milliseconds = (time.perf_counter() - started) * 1000
    arrived = seen.arrived("ANNOTATION_CREATED", more_than=before)
    wrong = "" if arrived else "the backend received no event for the annotation"
    answer = "stored by Label Studio, received by webhook"
    return Step(photograph.name, "submit", "annotation", None, milliseconds, answer, wrong)
