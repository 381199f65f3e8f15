"""A team's project whose labels a small network can learn in seconds, and real processes that do.

Pictures show bright discs on dark ground; the base has learned nothing. So a candidate is better
than its champion whatever the machine is like, and a gate that works lets it pass.
"""

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import func, select

from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import Job, Promotion, SampleRow, Version
from backend.images.loader import Pictures
from backend.jobs.lease import Leases
from backend.jobs.queue import Jobs
from backend.jobs.scheduler import Scheduler
from backend.label_studio.projects import LabelStudioHosts
from backend.registry.versions import Registry
from backend.samples.image_check import ImageCheck
from backend.samples.ingest import SampleStore
from backend.settings import Settings
from backend.worker import celery_app
from model import checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from tests.backend.learning.label_studio import Host
from tests.backend.programs import kill, start, stop
from tests.backend.samples.studio import PROJECT, Studio, connected, region, settle
from training.data.sample import side

SIZE = (96, 72)
WORDS = ["the", "red", "cat", "dog"]
# Rates for an untrained network; they would ruin a trained one.
RECIPE = {
    "steps": 16,
    "looks": 1,
    "look_objects": 4,
    "pictures": 3,
    "prompts": 2,
    "crop": 64,
    "seed": 1,
    "rate": 0.01,
    "backbone_rate": 0.01,
    "ema": 0.8,
    "distillation": 0.0,
    "first_crop": 0,
    "frozen_stages": 0,
    "amp": "off",
    "many": 0.05,
    "save_seconds": 1.0,
}
Mask = np.ndarray


def discs(seed: int) -> tuple[bytes, list[Mask]]:
    """A picture with two discs, as a PNG, and their masks."""
    random = np.random.default_rng(seed)
    width, height = SIZE
    image = random.integers(20, 60, (height, width, 3)).astype(np.uint8)
    down, across = np.mgrid[:height, :width]
    masks = []
    for left in (0, width // 2):
        x, y = random.integers(left + 16, left + width // 2 - 14), random.integers(18, height - 18)
        mask = (across - x) ** 2 + (down - y) ** 2 < random.integers(9, 15) ** 2
        image[mask] = random.integers(180, 255, 3)
        masks.append(mask)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue(), masks


def base_checkpoint(folder: Path) -> Path:
    """A small untrained network."""
    torch.manual_seed(0)
    config = ModelConfig(
        input_size=96, channels=32, word_dim=8, phrase_dim=4, attributes=("red", "dog")
    )
    vectors = np.random.default_rng(2).normal(size=(len(WORDS), 8)).astype(np.float32)
    checkpoint.save(folder / "base", PhraseClick(config).eval(), WORDS, vectors)
    return folder / "base"


def general_set(folder: Path) -> Path:
    """A general set of such pictures, small, so that an evaluation takes seconds."""
    path = folder / "general.tar"
    with tarfile.open(path, "w") as archive:
        for seed in range(900, 906):
            picture, masks = discs(seed)
            labeled = dict(enumerate(masks[: 2 if seed < 904 else 1], 1))
            ids = np.zeros(masks[0].shape, np.uint8)
            for number, mask in labeled.items():
                ids[mask] = number
            stream = io.BytesIO()
            Image.fromarray(ids).save(stream, "PNG")
            objects = [{"id": number, "category": "cat"} for number in labeled]
            about = json.dumps({"source": "general", "objects": objects}).encode()
            members = {"png": picture, "inst.png": stream.getvalue(), "json": about}
            for suffix, content in members.items():
                entry = tarfile.TarInfo(f"{seed}.{suffix}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


@cache
def _made() -> tuple[tempfile.TemporaryDirectory[str], Path, Path]:
    """The base and the general set, made once for all tests, which only read them."""
    kept = tempfile.TemporaryDirectory()
    return kept, base_checkpoint(Path(kept.name)), general_set(Path(kept.name))


def settings_for(folder: Path, url: str, **overrides: Any) -> Settings:
    """Settings of a machine with this data folder."""
    _, base, general = _made()
    return Settings(
        data=folder / "data",
        label_studio_url=url,
        label_studio_token=SecretStr("0123456789abcdef0123456789abcdef01234567"),
        allow_private_addresses=True,
        checkpoint=str(base),
        gate_set=str(general),
        device="cpu",
        training_device="cpu",
        torch_threads=1,
        lease_s=9,
        learn=False,
        **overrides,
    )


_AS_EVER = ("-m", "backend.cli")
# A worker loads torch with its first job, for which everybody would wait after each kill.
_READY = (
    "-c",
    "import os, runpy; os.environ['OMP_NUM_THREADS'] = '1'; import backend.learning.train_job; "
    "runpy.run_module('backend.cli', run_name='__main__', alter_sys=True)",
)


class Site:
    """A project with accepted labels, and the processes of one or more machines."""

    def __init__(self, folder: Path, settings: Settings, pictures: Host) -> None:
        self.folder = folder
        self.settings = settings
        self.host = pictures
        self.database = Database(settings.resolved_database_url)
        migrate(self.database)
        self.jobs = Jobs(self.database)
        self.registry = Registry(self.database, settings)
        self.processes: list[subprocess.Popen[bytes]] = []
        # Where a real scheduler runs, waiting needs no second one.
        self.has_scheduler = False
        self._clock = self.new_clock()

    # -- labels

    def label(self, train: int = 16, held_out: int = 6) -> None:
        """Accept labels on this many pictures of each side of the split, and check them."""
        connected(self.database)
        store, studio = SampleStore(self.database), Studio()
        wanted = {"train": train, "validation": held_out}
        seed = 0
        while any(wanted.values()):
            seed += 1
            picture, masks = discs(seed)
            split = side(hashlib.sha256(picture).hexdigest())
            if not wanted[split]:
                continue
            wanted[split] -= 1
            address = f"/files/{seed}.png"
            self.host.pictures[address] = picture
            studio.task(seed, address)
            result = [region(f"{seed}-{n}", mask) for n, mask in enumerate(masks)]
            settle(store, studio.submit(seed, seed, result))
        hosts = LabelStudioHosts(self.settings)
        ImageCheck(self.database, Pictures(self.settings, hosts)).run(60)

    def forget_pictures(self) -> None:
        """Empty the cache, so that pictures are fetched again."""
        for path in (self.settings.data / "pictures").glob("*/*/*"):
            path.unlink()

    def labels(self) -> int:
        """The number of accepted regions."""
        with self.database.read() as connection:
            query = select(func.count()).select_from(SampleRow)
            return int(connection.execute(query).scalar_one())

    # -- processes

    def start(
        self, *command: str, settings: Settings | None = None, **environment: str
    ) -> "subprocess.Popen[bytes]":
        """``start("worker", "--queue=training")``: a command of phraseclick."""
        program = _READY if "--queue=training" in command else _AS_EVER
        log = self.folder / f"{len(self.processes)}-{command[0]}.log"
        process = start(settings or self.settings, log, *command, program=program, **environment)
        self.processes.append(process)
        return process

    def worker(self, settings: Settings | None = None) -> "subprocess.Popen[bytes]":
        """Start a training worker."""
        return self.start("worker", "--queue=training", settings=settings)

    def kill_worker_of(self, number: int) -> None:
        """kill -9 the process that runs a job."""
        worker = self.jobs.get(number).worker.split(" ")
        (process,) = [child for child in self.processes if str(child.pid) in worker]
        kill(process)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            stop(process)
        self.database.close()

    # -- jobs

    def ask(self, **recipe: Any) -> Job:
        """Enqueue a training, by hand."""
        request = {"recipe": {**RECIPE, **recipe}}
        return self.jobs.enqueue(PROJECT.key, "training", trigger="hand", by="ann", request=request)

    def new_clock(self) -> Scheduler:
        """A scheduler as after its start."""
        app = celery_app.build(self.settings)
        return Scheduler(
            self.settings,
            self.database,
            Leases(self.settings.lease_s),
            lambda job: celery_app.call(app, celery_app.RUN_JOB, job.id),
        )

    def until(self, true: Callable[[], bool], *, seconds: float = 180, ticks: bool = True) -> None:
        """Wait; with ticks this runs the scheduler, too, if there is no other."""
        ticks = ticks and not self.has_scheduler
        deadline, ticked = time.monotonic() + seconds, 0.0
        while not true():
            if time.monotonic() > deadline:
                logs = "\n".join(log.read_text()[-1500:] for log in self.folder.glob("*.log"))
                jobs = "\n".join(map(str, self.jobs.listed()))
                raise AssertionError(f"{logs}\n{jobs}")
            if ticks and time.monotonic() - ticked > 1:
                self._clock.tick()
                ticked = time.monotonic()
            time.sleep(0.03)

    def until_phase(self, number: int, phase: str, attempt: int) -> None:
        """Wait until an attempt at a job has reached a phase."""

        def there() -> bool:
            job = self.jobs.get(number)
            assert not job.ended, f"it ended before anybody could kill it: {job}"
            return job.attempts == attempt and job.phase == phase and job.state == "running"

        self.until(there)

    def done(self, number: int) -> Job:
        """Wait until a job has ended; it must be done. Trainings run at low priority, so that on a
        busy machine they take minutes."""
        self.until(lambda: self.jobs.get(number).ended, seconds=450)
        job = self.jobs.get(number)
        assert job.state == "done", (job, [line.line for line in self.jobs.log(number)])
        return job

    # -- what must be true afterwards

    def versions_of(self, number: int) -> list[Version]:
        return [
            version
            for version in self.registry.all(PROJECT.key)
            if version.data.get("job") == number
        ]

    def promotions_of(self, number: int) -> list[Promotion]:
        return [
            promotion
            for promotion in self.registry.history(PROJECT.key)
            if promotion.who == f"job {number}"
        ]

    def champion(self) -> str:
        champions = self.registry.champions()
        return champions.of(PROJECT) or self.registry.base_name

    def promoted_once(self, number: int) -> Mapping[str, Any]:
        """The job's result, after checking that it made and promoted exactly one version."""
        job = self.done(number)
        assert job.result is not None
        (version,) = self.versions_of(number)
        (promotion,) = self.promotions_of(number)
        assert job.result["promoted"] is True, job.result["reason"]
        assert promotion.version == version.name == job.result["version"]
        assert self.champion() == version.name
        assert version.state == "accepted"
        assert checkpoint.load(self.registry.folder(version.name)).version == version.name
        attempts = [line.attempt for line in self.jobs.log(number)]
        assert attempts == sorted(attempts), "two attempts at once"
        assert list((self.settings.data / "jobs").glob("*-*")) == []
        return job.result

    def start_over(self) -> None:
        """The base serves again, so that the next candidate is better once more."""
        while self.champion() != self.registry.base_name:
            self.registry.rollback(PROJECT.key, who="test")


def phases(lines: Sequence[Any]) -> list[tuple[int, str]]:
    """Attempt and phase, in order, of a job's log."""
    return [
        (entry.attempt, entry.line.removeprefix("Phase: "))
        for entry in lines
        if entry.line.startswith("Phase")
    ]
