"""The journey of clicks and phrases through the service, on real memory, pictures and network."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from backend.api.service import Service
from backend.errors import RequestError
from backend.images import embeddings, loader
from backend.label_studio import rle
from backend.settings import Settings

INTERACTIVE = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "payloads").glob("*predict*.json")
    if json.loads(path.read_text())["body"]["params"]["context"] is not None
)


@pytest.fixture
def picture(picture_host: Any) -> str:
    return str(picture_host.add("/data/upload/6/a.png"))


def rows(settings: Settings, query: str) -> list[Any]:
    engine = create_engine(settings.resolved_database_url)
    with engine.connect() as connection:
        records = list(connection.execute(text(query)))
    engine.dispose()
    return records


def mask_of(region: dict[str, Any]) -> np.ndarray:
    return rle.decode(region["value"]["rle"], region["original_width"], region["original_height"])


def test_a_click_gives_a_mask_of_the_pictures_size_under_the_clicked_place(
    service: Service, page: Any, picture: str
) -> None:
    answer = service.predict(page.request([page.click(1, 31.07, 40.55)]))

    region = page.region(answer)
    assert region["from_name"] == "brush"
    assert region["to_name"] == "image"
    assert region["type"] == "brushlabels"
    assert region["value"]["format"] == "rle"
    assert region["value"]["brushlabels"] == ["Cat"]
    assert (region["original_width"], region["original_height"]) == (640, 480)
    assert mask_of(region)[int(0.4055 * 480), int(0.3107 * 640)]
    (result,) = answer["results"]
    assert result["model_version"] == service.version
    assert 0 <= result["score"] <= 1
    assert page.status(answer).startswith("1 click → Cat")


def test_further_clicks_keep_the_region_and_are_counted(
    service: Service, page: Any, picture: str
) -> None:
    first = service.predict(page.request([page.click(1, 30, 40)]))
    clicks = [page.click(1, 30, 40), page.click(2, 35, 45), page.click(3, 60, 20, positive=False)]
    third = service.predict(page.request(clicks))

    assert page.region(third)["id"] == page.region(first)["id"]
    assert page.status(third).startswith("3 clicks, 1 negative → Cat")
    assert not mask_of(page.region(third))[int(0.2 * 480), int(0.6 * 640)]


def test_a_phrase_alone_is_answered_with_the_pictures_real_size(
    service: Service, page: Any, picture: str
) -> None:
    answer = service.predict(page.request([page.phrase("the red cat")]))

    assert page.status(answer).startswith("'the red cat'")
    for item in answer["results"][0]["result"]:
        if "rle" in item["value"]:
            assert (item["original_width"], item["original_height"]) == (640, 480)


def test_corrected_and_unknown_words_are_said(service: Service, page: Any, picture: str) -> None:
    answer = service.predict(page.request([page.phrase("persson zebroid")]))

    assert "'persson' read as 'person'" in page.status(answer)
    assert "'zebroid' is not known" in page.status(answer)


@pytest.mark.parametrize(
    ("path", "size"), [("/data/upload/6/a.png", (400, 300)), ("/photos/a.png", (640, 480))]
)
def test_a_picture_replaced_at_its_address_is_fetched_again_and_has_no_mask_before(
    path: str,
    size: tuple[int, int],
    settings: Settings,
    open_service: Callable[[Settings], Service],
    page: Any,
    picture_host: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given an object on a picture whose address is asked again each time
    address = picture_host.url * path.startswith("/photos") + picture_host.add(path)
    monkeypatch.setattr(embeddings, "_KNOWN_S", 0.0)
    monkeypatch.setattr(loader, "FRESH_S", 0.0)
    service = open_service(settings)
    clicks = [page.click(n, 30 * n, 40) for n in (1, 2)]
    service.predict(page.request(clicks[:1], address=address))
    again = service.predict(page.request(clicks, address=address))
    # when another picture is there, perhaps of the same size, and the object is refined
    picture_host.add(path, size, seed=5)
    clicks.append(page.click(3, 50, 50, size=size))
    answer = service.predict(page.request(clicks, address=address))
    # then the answer is of that picture alone
    region = page.region(answer)
    assert region["id"] == page.region(again)["id"]
    assert (region["original_width"], region["original_height"]) == size
    assert ["replaced" in page.status(one) for one in (again, answer)] == [False, True]


def test_a_page_that_shows_another_picture_is_asked_to_reload(
    service: Service, page: Any, picture: str
) -> None:
    answer = service.predict(page.request([page.click(1, 50, 50, size=(300, 200))]))

    assert len(answer["results"][0]["result"]) == 1
    assert "300×200" in page.status(answer)
    assert "640×480" in page.status(answer)
    assert "Reload the page" in page.status(answer)


def test_a_probe_is_answered_but_neither_remembered_nor_counted(
    service: Service, settings: Settings, page: Any, picture: str
) -> None:
    body = page.request([page.click(1, 50, 50, size=(100, 100), label="Dog")])
    body["params"]["context"]["probe"] = True

    answer = service.predict(body)

    assert page.region(answer)["value"]["brushlabels"] == ["Dog"]
    assert page.status(answer).startswith("1 click → Dog")
    assert rows(settings, "select * from events") == []
    assert rows(settings, "select * from targets") == []
    assert "phraseclick_interactions_total{" not in figures(service)


def test_a_probe_of_a_broken_picture_says_so(
    service: Service, settings: Settings, page: Any
) -> None:
    body = page.request([page.click(1, 50, 50)], address="/data/upload/6/no.png")
    body["params"]["context"]["probe"] = True

    assert "404" in page.status(service.predict(body))
    assert rows(settings, "select * from events") == []


@pytest.mark.parametrize("name", INTERACTIVE)
def test_every_recorded_interactive_request_is_answered(
    name: str, service: Service, settings: Settings, page: Any, picture_host: Any
) -> None:
    body = page.recorded(name)
    shown = [
        (item["original_width"], item["original_height"])
        for item in body["params"]["context"]["result"]
        if "original_width" in item
    ]
    picture_host.add(body["tasks"][0]["data"]["image"], *shown[:1])

    answer = service.predict(body)

    (result,) = answer["results"]
    status = [item for item in result["result"] if item["id"] == "status"]
    masks = [item for item in result["result"] if "rle" in item["value"]]
    if body["params"]["context"]["result"] == []:
        assert result["result"] == []
    else:
        # A network that learned nothing may see nothing but what was clicked, and with no object
        # made before there is none to refine; the status line says so.
        context = body["params"]["context"]["result"]
        assert len(masks) == 1 or status or not any(prompt.get("is_positive") for prompt in context)
        assert result["model_version"] == service.version
        assert rows(settings, "select * from events where error <> ''") == []
    # The status line goes where the config has one, and only there.
    assert len(status) <= ('name="status"' in body["label_config"])


@pytest.mark.parametrize(("address", "said"), [("/data/upload/6/no.png", "404"), ("", "picture")])
def test_an_unavailable_picture_is_reported_in_the_status_line(
    service: Service, settings: Settings, page: Any, address: str, said: str
) -> None:
    answer = service.predict(page.request([page.click(1, 30, 40)], address=address))

    (result,) = answer["results"]
    (item,) = result["result"]
    assert item["id"] == "status"
    assert said in item["value"]["text"][0]
    errors = rows(settings, "select error from events where error <> ''")
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"value": {"x": 130, "y": 1}}, "off the picture"),
        ({"from_name": "ellipse"}, "does not know that tool"),
        ({"from_name": "note", "type": "textarea", "value": {"text": ["dark"]}}, "as you wrote it"),
        ({"value": {"x": None, "y": None, "labels": 5}}, "off the picture"),
    ],
)
def test_what_is_not_understood_is_said(
    service: Service, page: Any, changes: dict[str, Any], says: str
) -> None:
    answer = service.predict(page.request([{**page.click(1, 30, 40), **changes}]))

    assert says in page.status(answer)


def test_one_status_line_serves_several_images(
    service: Service, page: Any, picture_host: Any
) -> None:
    both = page.tried_config.replace(
        "</View>",
        """<Image name="b" value="$image"/>
      <BrushLabels name="mb" toName="b"><Label value="Cat"/></BrushLabels>
      <KeyPointLabels name="kb" toName="b"><Label value="Cat"/></KeyPointLabels></View>""",
    )
    click = {**page.click(1, 50, 50, control="kb"), "to_name": "b"}
    address = picture_host.add("/data/upload/6/a.png")

    answer = service.predict(page.request([click], address=address, config=both))

    assert page.region(answer)["to_name"] == "b"
    assert page.status(answer).startswith("1 click → Cat")


def test_a_config_without_a_status_line_gets_none(
    service: Service, page: Any, picture: str
) -> None:
    answer = service.predict(page.request([page.click(1, 30, 40)], config=page.recorded_config))

    assert [item["type"] for item in answer["results"][0]["result"]] == ["brushlabels"]


def test_a_further_click_reads_no_picture(
    service: Service, page: Any, picture: str, picture_host: Any
) -> None:
    service.predict(page.request([page.click(1, 30, 40)]))
    asked = len(picture_host.asked)
    service.predict(page.request([page.click(1, 30, 40), page.click(2, 32, 40)]))

    assert asked >= 1
    assert len(picture_host.asked) == asked
    assert 'phraseclick_embedding_cache_total{result="hit"} 1.0' in figures(service)


def figures(service: Service) -> str:
    return service.metrics.exposition().decode()


@pytest.mark.timed
def test_opening_a_task_encodes_its_picture_ahead(
    service: Service, page: Any, picture: str, picture_host: Any
) -> None:
    started = time.perf_counter()
    answer = service.predict(page.request(None))
    seconds = time.perf_counter() - started

    assert answer["results"] == [[]]
    assert seconds < 1
    deadline = time.monotonic() + 20
    while "\nphraseclick_embedding_cache_bytes 0.0" in figures(service):
        assert time.monotonic() < deadline, "the picture was not encoded ahead"
        time.sleep(0.02)
    assert picture_host.asked
    service.predict(page.request([page.click(1, 30, 40)]))
    assert 'phraseclick_embedding_cache_total{result="hit"} 1.0' in figures(service)


def test_a_request_without_config_uses_that_of_setup(
    service: Service, page: Any, picture: str
) -> None:
    service.setup({"project": "6.1795384361", "schema": page.tried_config})

    answer = service.predict(page.request([page.click(1, 30, 40)], config=""))

    assert page.region(answer)["from_name"] == "brush"


def test_two_tasks_in_an_interactive_request_are_refused(service: Service, page: Any) -> None:
    body = page.request([page.click(1, 30, 40)])
    body["tasks"] *= 2

    with pytest.raises(RequestError):
        service.predict(body)
