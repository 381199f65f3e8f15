"""A real Label Studio: what its webhooks say of annotations, and what asking it makes of them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import AnnotationRow
from backend.demo.label_studio_server import label_studio
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import parse_config
from backend.label_studio.payloads import Project, parse_webhook
from backend.samples.ingest import SampleStore
from backend.samples.sync import Reconciliation
from tests.backend.conftest import photograph
from tests.backend.samples.studio import CONFIG, connected, region, settle, state


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address for webhooks, and what came there."""
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(orjson.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/webhook", came
    server.shutdown()
    server.server_close()


class Rounds:
    """Reconciliations with one Label Studio, each some minutes after the one before."""

    def __init__(self, database: Database, studio: LabelStudio) -> None:
        self.database = database
        self.studio = studio
        self.asked: list[str] = []
        self.later = timedelta(minutes=5)
        call = studio.call

        def counted(method: str, path: str, **options: Any) -> Any:
            self.asked.append(path)
            return call(method, path, **options)

        studio.call = counted  # type: ignore[method-assign]

    def of(self, project: int) -> LabelStudio:
        return self.studio

    def run(self) -> int:
        """One round; how many tasks were read in full."""
        self.later += timedelta(minutes=5)
        hosts: Any = self
        rounds = Reconciliation(
            self.database,
            hosts,
            parse_config,
            pause_s=0,
            clock=lambda: datetime.now(UTC) + self.later,
        )
        self.asked.clear()
        (done,) = rounds.run()
        assert done.complete, done.error
        return done.tasks


@pytest.mark.slow
def test_webhooks_and_rounds_agree_on_what_a_real_label_studio_holds(
    tmp_path: Path, migrated: Path
) -> None:
    def fresh(name: str) -> Database:
        path = tmp_path / name
        path.write_bytes(migrated.read_bytes())
        return Database(f"sqlite:///{path}")

    with label_studio(tmp_path / "studio") as server, listening() as (url, came):
        # given: a project whose events are heard, with five tasks
        studio = LabelStudio(server.url, server.token)
        about = studio.create_project("samples", CONFIG)
        number = int(about["id"])
        studio.create_webhook(number, url, {})
        tasks = [studio.upload(number, f"{n}.png", photograph((64, 48), n))[0] for n in range(5)]
        project = Project.read(studio.project(number))
        heard, asked = fresh("heard.db"), fresh("asked.db")
        connected(asked, project)
        rounds = Rounds(asked, studio)

        def agree(read: int) -> None:
            assert rounds.run() == read
            store = SampleStore(heard)
            for body in came:
                assert parse_webhook(body).project == project
                settle(store, body)
            assert state(asked) == state(heard)

        # when annotations are submitted, one of them skipped
        made = [
            studio.create_annotation(task, [region(f"r{task}", origin="manual")])
            for task in tasks[:4]
        ]
        studio.post(f"/api/tasks/{tasks[4]}/annotations/", {"result": [], "was_cancelled": True})
        agree(read=5)
        assert rounds.run() == 0, "a project at rest costs no more than its list"
        assert rounds.asked == [f"/api/projects/{number}/", "/api/tasks"]

        # when one is changed, and one is deleted
        first, second = int(made[0]["id"]), int(made[1]["id"])
        changed = {"result": [region("changed", label="d")]}
        studio.patch(f"/api/annotations/{first}/", changed)
        studio.delete(f"/api/annotations/{second}/")
        agree(read=2)

        # when one becomes a draft again, of which no webhook tells, and a task is deleted
        third = int(made[2]["id"])
        studio.post(f"/api/annotations/{third}/convert-to-draft", {})
        studio.delete(f"/api/tasks/{tasks[3]}/")
        rounds.run()
        with asked.read() as connection:
            query = select(AnnotationRow.annotation_id, AnnotationRow.gone_at)
            gone = {row.annotation_id for row in connection.execute(query) if row.gone_at}
        assert gone == {second, third, int(made[3]["id"])}

        # when a whole page of tasks loses its annotations at once
        body = {"selectedItems": {"all": True, "excluded": []}}
        studio.post("/api/dm/actions", body, id="delete_tasks_annotations", project=number)
        rounds.run()
        assert state(asked)["samples"] == []
        assert state(asked)["annotations"] == []
        heard.close()
        asked.close()
