"""``phraseclick doctor`` against a real Label Studio: finds what broke since, changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import text

from backend.db.engine import Database
from backend.label_studio.client import LabelStudio

pytestmark = pytest.mark.slow

Run = Callable[..., Result]


@pytest.fixture
def connected(run: Run, asked: Callable[..., Any], picture: bytes) -> Any:
    """A project that was connected and works."""
    mine = asked(picture=picture)
    result = run("connect", *mine.arguments)
    assert result.exit_code == 0, result.output
    return mine


def test_a_connected_project_passes_all_checks(run: Run, connected: Any) -> None:
    result = run("doctor", *connected.arguments)
    assert result.exit_code == 0, result.output
    assert "No problems found." in result.output


def test_it_needs_no_argument_but_the_data_folder(run: Run, connected: Any, backend: Any) -> None:
    result = run("doctor", "--data", str(backend.data), "--project", str(connected.project))
    assert result.exit_code == 0, result.output


def test_the_trial_click_is_neither_remembered_nor_counted(
    run: Run, asked: Callable[..., Any], picture: bytes, backend: Any
) -> None:
    # given
    def rows() -> list[int]:
        with Database(backend.settings.resolved_database_url).read() as connection:
            return [
                connection.execute(text(f"select count(*) from {table}")).scalar_one()
                for table in ("events", "targets")
            ]

    mine, before = asked(picture=picture), rows()
    # when
    connected = run("connect", *mine.arguments)
    looked = run("doctor", *mine.arguments)
    # then
    assert connected.output.count("a mask came back") == 1
    assert looked.output.count("a mask came back") == 1
    assert rows() == before


def test_a_missing_webhook_is_reported(run: Run, connected: Any, studio: LabelStudio) -> None:
    # given
    for webhook in studio.webhooks(connected.project):
        studio.delete(f"/api/webhooks/{webhook['id']}/")
    # when
    result = run("doctor", *connected.arguments)
    # then
    assert result.exit_code == 1
    assert "no webhook to the backend" in result.output
    assert not studio.webhooks(connected.project), "the doctor only looks"


def test_a_webhook_without_the_secret_is_reported(
    run: Run, connected: Any, studio: LabelStudio
) -> None:
    (webhook,) = studio.webhooks(connected.project)
    studio.update_webhook(webhook["id"], webhook["url"], {})
    result = run("doctor", *connected.arguments)
    assert result.exit_code == 1
    assert "does not carry this data folder's secret" in result.output


def test_a_backend_disconnected_from_the_project_is_reported(
    run: Run, connected: Any, studio: LabelStudio
) -> None:
    (row,) = studio.ml_backends(connected.project)
    studio.delete(f"/api/ml/{row['id']}")
    result = run("doctor", *connected.arguments)
    assert result.exit_code == 1
    assert "is connected to this project" in result.output


def test_another_model_version_in_the_project_is_reported(
    run: Run, connected: Any, studio: LabelStudio
) -> None:
    studio.patch_project(connected.project, model_version="")
    result = run("doctor", *connected.arguments)
    assert result.exit_code == 1
    assert "order by uncertainty" in result.output


def test_a_data_folder_without_connections_is_reported(run: Run, tmp_path: Any) -> None:
    result = run("doctor", "--data", str(tmp_path))
    assert result.exit_code == 1
    assert "run phraseclick connect" in result.output
