"""``phraseclick connect`` against a real Label Studio: what it sets, and what it says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import Result

from backend.demo.label_studio_server import label_studio
from backend.label_studio.client import LabelStudio
from backend.label_studio.credentials import load_credentials, webhook_secret
from backend.worker.child_process import free_port

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
MakeProject = Callable[..., Any]


def test_a_project_is_connected_with_webhook_secret_and_model_version(
    run: Run, asked: MakeProject, studio: LabelStudio, backend: Any, picture: bytes
) -> None:
    # given
    mine = asked(picture=picture)
    # when
    result = run("connect", *mine.arguments)
    # then
    assert result.exit_code == 0, result.output
    (row,) = studio.ml_backends(mine.project)
    assert (row["url"], row["is_interactive"], row["state"]) == (backend.url, True, "CO")
    (webhook,) = studio.webhooks(mine.project)
    assert webhook["headers"] == {"X-PhraseClick-Secret": webhook_secret(backend.settings)}
    assert studio.project(mine.project)["model_version"] == row["model_version"] != ""
    assert "An event sent by Label Studio arrived." in result.output
    assert "a mask came back" in result.output


def test_connecting_again_doubles_nothing(
    run: Run, asked: MakeProject, studio: LabelStudio
) -> None:
    mine = asked()
    run("connect", *mine.arguments)
    again = run("connect", *mine.arguments)
    assert again.exit_code == 0, again.output
    assert len(studio.ml_backends(mine.project)) == 1
    assert len(studio.webhooks(mine.project)) == 1


def test_requests_without_the_secret_are_refused(
    run: Run, asked: MakeProject, backend: Any
) -> None:
    run("connect", *asked().arguments)
    answer = requests.post(f"{backend.url}/webhook", json={"action": "PROJECT_UPDATED"}, timeout=5)
    assert answer.status_code == 401


def test_a_ready_config_is_written_when_asked(
    run: Run, asked: MakeProject, studio: LabelStudio, picture: bytes
) -> None:
    # given
    mine = asked(config="<View></View>", picture=picture)
    # when
    result = run("connect", *mine.arguments, "--write-config", "click_and_phrase")
    # then
    assert result.exit_code == 0, result.output
    assert "<BrushLabels" in studio.project(mine.project)["label_config"]


def test_a_config_of_the_project_is_overwritten_only_with_consent(
    run: Run, asked: MakeProject, studio: LabelStudio
) -> None:
    mine = asked()
    before = studio.project(mine.project)["label_config"]
    refused = run("connect", *mine.arguments, "--write-config", "phrase_only")
    assert refused.exit_code == 1
    assert studio.project(mine.project)["label_config"] == before
    agreed = run("connect", *mine.arguments, "--write-config", "phrase_only", "--yes")
    assert agreed.exit_code == 0, agreed.output
    assert studio.project(mine.project)["label_config"] != before


def test_a_config_without_brush_is_refused(run: Run, asked: MakeProject) -> None:
    config = (
        '<View><Image name="image" value="$image"/>'
        '<RectangleLabels name="box" toName="image"><Label value="Cat"/></RectangleLabels></View>'
    )
    result = run("connect", *asked(config=config).arguments)
    assert result.exit_code == 1
    assert "BrushLabels" in result.output
    assert "--write-config" in result.output


def test_an_unknown_config_name_lists_the_ready_ones(run: Run, asked: MakeProject) -> None:
    result = run("connect", *asked().arguments, "--write-config", "nonsense")
    assert result.exit_code == 1
    assert "click_and_phrase" in str(result.exception)


def test_an_invalid_token_is_reported(run: Run, asked: MakeProject) -> None:
    arguments = list(asked().arguments)
    arguments[arguments.index("--token") + 1] = "0" * 40
    result = run("connect", *arguments)
    assert result.exit_code == 1
    assert "refused the legacy token" in result.output
    assert "personal access token" in result.output


def test_a_missing_project_is_reported(run: Run, asked: MakeProject) -> None:
    arguments = list(asked().arguments)
    arguments[arguments.index("--project") + 1] = "987654"
    result = run("connect", *arguments)
    assert result.exit_code == 1
    assert "no project 987654" in result.output


def test_a_backend_that_does_not_run_is_reported(run: Run, asked: MakeProject) -> None:
    arguments = list(asked().arguments)
    arguments[arguments.index("--backend-url") + 1] = f"http://127.0.0.1:{free_port()}"
    result = run("connect", *arguments)
    assert result.exit_code == 1
    assert "is the backend running (make run)?" in result.output


def test_an_unreadable_picture_is_reported(
    run: Run, asked: MakeProject, studio: LabelStudio
) -> None:
    # given
    mine = asked()
    gone = [{"data": {"image": "/data/upload/1/gone.png"}}]
    studio.post(f"/api/projects/{mine.project}/import", gone)
    # when
    result = run("connect", *mine.arguments)
    # then
    assert result.exit_code == 1
    assert "The picture could not be read" in result.output


def test_another_data_folder_than_the_backends_is_found_out(
    run: Run, asked: MakeProject, tmp_path: Path
) -> None:
    arguments = list(asked().arguments)
    arguments[arguments.index("--data") + 1] = str(tmp_path / "elsewhere")
    result = run("connect", *arguments)
    assert result.exit_code == 1
    assert "it runs with another data folder" in result.output


@pytest.mark.parametrize("variables", [(), ("ML_BLOCK_LOCAL_IP",)])
def test_the_ban_on_private_addresses_names_both_variables(
    run: Run, backend: Any, tmp_path: Path, variables: tuple[str, ...]
) -> None:
    # given a Label Studio as installed, or with one of the two variables only
    config = Path(__file__).parents[4] / "plugin_config" / "click_and_phrase.xml"
    with label_studio(tmp_path / "studio", allow_private=variables) as server:
        studio = LabelStudio(server.url, server.token)
        project = str(studio.create_project("banned", config.read_text())["id"])
        place = ("--project", project, "--url", server.url, "--token", server.token)
        # when
        result = run("connect", *place, "--backend-url", backend.url, "--data", str(backend.data))
    # then
    assert result.exit_code == 1
    assert "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false" in result.output


def test_a_personal_token_reads_pictures_where_legacy_tokens_are_dead(
    run: Run, backend: Any, tmp_path: Path, picture: bytes
) -> None:
    # given a Label Studio as new installs are: what /setup announces is dead
    config = Path(__file__).parents[4] / "plugin_config" / "click_and_phrase.xml"
    with label_studio(tmp_path / "studio") as server:
        legacy = LabelStudio(server.url, server.token)
        project = int(legacy.create_project("new install", config.read_text())["id"])
        legacy.upload(project, "picture.png", picture)
        personal = legacy.post("/api/token/")["token"]
        legacy.post(
            "/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False}
        )
        # when
        result = run(
            "connect",
            *("--project", str(project), "--url", server.url, "--token", personal),
            *("--backend-url", backend.url, "--data", str(backend.data)),
        )
    # then
    assert result.exit_code == 0, result.output
    assert "a mask came back" in result.output
    assert load_credentials(backend.settings)[project].token == personal
    assert personal not in result.output
