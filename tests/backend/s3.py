"""An S3 server for tests (moto)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from s3fs import S3FileSystem

from backend.worker.child_process import Child, free_port

BUCKET = "versions"


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The URL of an empty bucket; processes started meanwhile have its address and credentials."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        pytest.MonkeyPatch.context() as patched,
        Child("moto", command, log=folder / "moto.log", environment={}) as child,
    ):
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patched.setenv(name, value)

        # Otherwise a process would use the server of an earlier test.
        S3FileSystem.clear_instance_cache()

        def answers() -> bool:
            try:
                boto3.client("s3").create_bucket(Bucket=BUCKET)
            except Exception:  # not there yet, in any of botocore's ways
                return False
            return True

        child.wait_until(answers, seconds=120, progress=lambda _: None, doing="starting")
        yield f"s3://{BUCKET}"
