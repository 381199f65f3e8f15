"""Versions in S3 (moto's server), with two machines that share nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from backend.errors import StorageError
from backend.label_studio.payloads import Project
from backend.registry.serving import Predictors
from backend.registry.store import VersionStore, open_store
from backend.registry.versions import Registry, resolve
from backend.settings import MIB, Settings
from model import checkpoint_files as files
from model.predictor import Predictor
from tests.backend.programs import until
from tests.backend.registry.conftest import MakeCheckpoint
from tests.backend.s3 import s3_server

pytestmark = pytest.mark.slow

SIX = Project(6, "1795384361")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own."""
    with s3_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> str:
    """A new one for each test."""
    name = f"b{abs(hash(request.node.name))}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


def objects(bucket: str) -> list[str]:
    return sorted(
        entry["Key"]
        for entry in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    )


@pytest.fixture
def machine(tmp_path: Path, settings: Settings, bucket: str) -> Iterator[Callable[[str], Settings]]:
    """``machine("worker")``: settings with their own data folder."""

    def named(name: str) -> Settings:
        return settings.model_copy(
            update={
                "data": tmp_path / name,
                "database_url": f"sqlite:///{tmp_path / 'shared.db'}",
                "checkpoint_store": f"s3://{bucket}/phraseclick/versions",
            }
        )

    return named


def test_one_machine_trains_and_another_serves(
    machine: Callable[[str], Settings], make_checkpoint: MakeCheckpoint, bucket: str
) -> None:
    path = make_checkpoint(1)
    worker, server = Registry.open(machine("worker")), Registry.open(machine("server"))
    base = Predictor(machine("server").checkpoint, device="cpu")
    predictors = Predictors(server, base, max_bytes=64 * MIB)

    name = worker.add(path, project=SIX.key).name
    worker.promote(name, who="job")
    predictors.poll()

    until(lambda: predictors.champion(SIX).version == name)
    cached = machine("server").data / "versions-cache" / name
    assert files.read(cached) == files.read(path)
    assert not (machine("worker").data / "versions-cache").exists()
    assert [key.rpartition("/")[2] for key in objects(bucket)] == sorted((*files.FILES, files.SUMS))
    assert resolve(name, machine("third")) == machine("third").data / "versions-cache" / name
    predictors.close()
    worker.close()
    server.close()


def test_another_machine_sees_a_new_version_at_once(
    machine: Callable[[str], Settings], make_checkpoint: MakeCheckpoint
) -> None:
    contents = files.read(make_checkpoint(1))
    one, other = open_store(machine("one")), open_store(machine("other"))
    assert not other.has("new")

    one.put("new", contents)
    assert other.has("new")
    one.delete("new")
    assert not other.has("new")


def test_a_missing_bucket_is_a_sentence(s3: str, tmp_path: Path) -> None:
    store = VersionStore("s3://nobodys-bucket/versions", tmp_path)

    with pytest.raises(StorageError, match=r"s3://nobodys-bucket/versions could not be written"):
        store.put("one", {**dict.fromkeys(files.FILES, b""), files.SUMS: b"00  config.json\n"})
