"""The images of the Dockerfile, built and run without a Docker engine: by buildah in a chroot.

Needs root, buildah and debootstrap (``apt-get install buildah debootstrap``). The base image is
made by debootstrap instead of pulled. pip's configuration, with its indexes on disk and its
certificates, is mounted into the build; it is part of no image.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BASE_PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates")
# Debian's Python refuses pip outside of environments; that of the real base does not.
BASE = """FROM scratch
COPY root /
RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -sf python3 /usr/bin/python
"""


def what_is_missing() -> str:
    """Why images cannot be built here; '' if they can."""
    if os.geteuid() != 0:
        return "building images needs root"
    missing = [program for program in ("buildah", "debootstrap") if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@dataclass(frozen=True)
class Buildah:
    """A storage of images and containers in ``folder``."""

    folder: Path

    def base(self) -> None:
        """Make the base image of the Dockerfile."""
        context = self.folder / "base"
        context.mkdir(parents=True, exist_ok=True)
        root = context / "root"
        if not (root / "usr/bin/python3").exists():
            packages = f"--include={','.join(BASE_PACKAGES)}"
            _run(["debootstrap", "--variant=minbase", packages, "bookworm", str(root)])
        (context / "Dockerfile").write_text(BASE)
        name = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
        assert name
        self._build(context, f"--tag=docker.io/library/{name[1]}")

    def build(self, target: str) -> None:
        """Build one target of the Dockerfile, with what .dockerignore lets through."""
        mounts = [f"--volume={source}:{place}:ro" for source, place in self._pip().items()]
        self._build(ROOT, f"--target={target}", f"--tag={target}", *mounts)

    @contextmanager
    def container(self, image: str) -> "Iterator[Container]":
        """A container of an image; removed at the end."""
        name = self("from", "--pull-never", f"localhost/{image}").strip()
        try:
            yield Container(self, name)
        finally:
            self("rm", name)

    def delete(self) -> None:
        """Delete everything."""
        self("rm", "--all")
        self("rmi", "--all", "--force")
        shutil.rmtree(self.folder)

    def __call__(self, *arguments: str) -> str:
        """Output of a buildah command."""
        return _run([*self.command, *arguments])

    @property
    def command(self) -> list[str]:
        """buildah with this storage."""
        storage = [f"--root={self.folder / 'storage'}", f"--runroot={self.folder / 'run'}"]
        return ["buildah", *storage, "--storage-driver=vfs"]

    def _build(self, context: Path, *options: str) -> None:
        network = ("--isolation=chroot", "--network=host", "--pull-never")
        # One layer for all steps: this storage copies the whole image for each layer.
        self("bud", "--format=docker", *network, *options, str(context))

    def _pip(self) -> dict[str, str]:
        """Files and folders that pip's configuration on this machine needs, and their places."""
        settings: dict[str, dict[str, str]] = defaultdict(dict)
        listed = _run([sys.executable, "-m", "pip", "config", "list"])
        for name, value in re.findall(r"^(\S+)='(.*)'$", listed, re.MULTILINE):
            section, _, key = name.rpartition(".")
            settings["global" if section == ":env:" else section][key] = value
        mounts = {}
        for section in settings.values():
            for value in section.values():
                for part in value.split():
                    path = part.removeprefix("file://")
                    if path.startswith("/") and Path(path).exists():
                        # An index on disk links to files beside it.
                        place = str(Path(path).parent) if part != path else path
                        mounts[place] = place
        parser = configparser.RawConfigParser()
        parser.read_dict(settings)
        own = self.folder / "pip.conf"
        with own.open("w") as file:
            parser.write(file)
        return {**mounts, str(own): "/etc/pip.conf"}


@dataclass(frozen=True)
class Container:
    """A container whose commands run as the image's user, with the network of this machine."""

    buildah: Buildah
    name: str

    def arguments(
        self, *command: str, environment: Mapping[str, str] = {}, data: Path | None = None
    ) -> list[str]:
        """The command line that runs ``command`` inside."""
        options = [f"--env={name}={value}" for name, value in environment.items()]
        if data is not None:
            options.append(f"--volume={data}:/data")
        inside = ["run", "--isolation=chroot", "--network=host", *options, self.name, "--"]
        return [*self.buildah.command, *inside, *command]

    def path(self) -> Path:
        """Its files, as this machine sees them."""
        return Path(self.buildah("mount", self.name).strip())

    def config(self) -> Any:
        """The image's configuration: command, user, environment."""
        return json.loads(self.buildah("inspect", self.name))["Docker"]["config"]


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(size_of(child) for child in path.iterdir())


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-5000:]}"
    return done.stdout
