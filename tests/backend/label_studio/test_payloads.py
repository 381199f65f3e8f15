"""What Label Studio posts, and what nobody should post, read at the edge."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.errors import NotJsonError, RequestError
from backend.label_studio.payloads import (
    Project,
    moment,
    parse_json,
    parse_predict,
    parse_setup,
    parse_webhook,
    read_task,
    whole_number,
)

PAYLOADS = Path(__file__).parents[2] / "payloads"
TRIED = (PAYLOADS / "tried_label_config.xml").read_text()


def payload(name):
    return json.loads((PAYLOADS / f"{name}.json").read_text())["body"]


def asked(*items, **task):
    return {
        "tasks": [{"id": 1, "data": {"image": "a.png"}, **task}],
        "project": "1.2",
        "label_config": TRIED,
        "params": {"context": {"result": list(items)}},
    }


def test_batch_opening_and_submit_are_distinguished():
    opened = parse_predict(payload("page_predict_batch_on_task_open"))
    assert (opened.interactive, len(opened.tasks)) == (False, 1)
    batch = parse_predict(payload("predict_batch"))
    assert [task.id for task in batch.tasks] == [1, 2, 3, 4]
    submit = parse_predict(payload("page_predict_empty_after_submit_with_annotation"))
    assert (submit.interactive, submit.context) == (True, ())


@pytest.mark.parametrize("params", [None, {}, {"context": None}, [], "x", 3])
def test_params_may_be_null_or_nonsense(params):
    request = parse_predict({**payload("predict_batch"), "params": params})
    assert not request.interactive


@pytest.mark.parametrize("context", [{}, {"result": None}, {"result": []}, '{"result": []}'])
def test_empty_contexts(context):
    request = parse_predict({**asked(), "params": {"context": context}})
    assert (request.interactive, request.context) == (True, ())


@pytest.mark.parametrize("context", ["text", [], [[1]], 7, {"result": "x"}, {"result": {}}])
def test_a_context_that_is_none_is_refused_with_a_sentence(context):
    with pytest.raises(RequestError, match="context"):
        parse_predict({**asked(), "params": {"context": context}})


@pytest.mark.parametrize("tasks", [[5], [None, []]])
def test_tasks_none_of_which_is_an_object_are_refused(tasks):
    with pytest.raises(RequestError, match="not an object"):
        parse_predict({**asked(), "tasks": tasks})


def test_a_hundred_thousand_regions_are_refused():
    with pytest.raises(RequestError, match="100000 regions"):
        parse_predict(asked(*[{}] * 100_000))


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        ("7.0", 7),
        (None, None),
        ("a7", None),
        ("07", None),
        (7.5, None),
        (-7, None),
        (True, None),
    ],
)
def test_numbers_as_scripts_write_them(raw, number):
    assert whole_number(raw) == number


def test_tasks_without_a_number_share_no_memory():
    tasks = [read_task({"id": name, "data": {"image": "a.png"}}) for name in ("a", "b", None)]
    tasks.append(read_task({"data": {"image": "b.png"}}))

    keys = [task.key for task in tasks]
    assert len({*keys, 0}) == 5
    assert all(2**62 <= key < 2**63 for key in keys)
    assert read_task({"id": "a", "data": {"image": "c.png"}}).key == keys[0]


def test_half_an_emoji_is_read():
    body = rb'{"note": "cut \ud83d", "whole": "\ud83d\ude00", "text": "\\ud83d"}'
    assert parse_json(body) == {"note": "cut ?", "whole": "😀", "text": "\\ud83d"}


def test_json_as_scripts_write_it_is_read():
    body = b'\xef\xbb\xbf{"x": NaN, "y": -Infinity, "text": "a\tb"}'
    assert parse_json(body) == {"x": None, "y": None, "text": "a\tb"}


def test_numbers_that_no_float_holds_are_null():
    body = b'{"x": 1e400, "y": -%b, "id": 7, "big": 1%b}' % (b"9" * 6_000, b"0" * 20)
    assert parse_json(body) == {"x": None, "y": None, "id": 7, "big": 1e20}


@pytest.mark.parametrize("body", [b"", b"{", b'"\\ud83d', b"[" * 2000 + b'"\\ud83d'])
def test_what_is_no_json_is_refused_with_a_sentence(body):
    with pytest.raises(NotJsonError, match="is not JSON"):
        parse_json(body)


@pytest.mark.parametrize(
    ("raw", "key"),
    [("1.1795380093", "1.1795380093"), ("7", "7"), (7, "7"), (7.0, "7"), (" 7.8 ", "7.8")],
)
def test_project(raw, key):
    assert Project.read(raw).key == key


def test_a_webhooks_project_has_the_same_key_as_the_requests():
    hook = parse_webhook(payload("webhook_ANNOTATION_CREATED_ui"))
    assert hook.project.key == parse_setup(payload("setup")).project.key == "1.1795380093"


@pytest.mark.parametrize("raw", [None, "", "x", "1.2.3", True, [], "9" * 40, "-1", 1.5, "\u0661"])
def test_a_project_that_is_none_is_refused(raw):
    with pytest.raises(RequestError, match="project"):
        Project.read(raw)


def test_a_request_without_project_takes_the_tasks():
    body = {**asked(project=5), "project": None}
    assert parse_predict(body).project.id == 5


def test_setup():
    setup = parse_setup(payload("setup"))
    assert setup.hostname == "http://localhost:8080"
    assert setup.access_token == "0123456789abcdef0123456789abcdef01234567"
    assert "<BrushLabels" in setup.label_config


def test_a_token_with_a_line_break_is_refused_at_setup():
    with pytest.raises(RequestError, match="access token"):
        parse_setup({"project": "1.2", "access_token": "abc\ndef"})
    assert parse_setup({"project": "1.2", "access_token": "abc\n"}).access_token == "abc"


def test_setup_with_nulls():
    setup = parse_setup({"project": "1", "schema": None, "hostname": None, "access_token": None})
    assert (setup.label_config, setup.hostname, setup.access_token) == ("", "", "")


@pytest.mark.parametrize(
    ("name", "annotations", "tasks"),
    [
        ("webhook_ANNOTATIONS_DELETED", (1,), 0),
        ("webhook_ANNOTATION_CREATED_api", (1,), 1),
        ("webhook_ANNOTATION_CREATED_ui", (3,), 1),
        ("webhook_ANNOTATION_UPDATED", (1,), 1),
        ("webhook_PROJECT_UPDATED", (), 0),
        ("webhook_START_TRAINING", (), 0),
        ("webhook_TASKS_CREATED", (), 1),
    ],
)
def test_webhooks(name, annotations, tasks):
    hook = parse_webhook(payload(name))
    assert hook.action == name.removeprefix("webhook_").removesuffix("_api").removesuffix("_ui")
    assert hook.annotation_ids == annotations
    assert len(hook.tasks) == tasks
    assert "<BrushLabels" in hook.label_config


def test_a_webhooks_texts_are_such_that_databases_take_and_terminals_ignore_them() -> None:
    project = {"id": 1, "title": "Ca\x1b\x9bts\0 \ud83d", "label_config": "<View>\0</View>"}

    hook = parse_webhook({"action": "PROJECT_UPDATED\0", "project": project})

    assert (hook.action, hook.title) == ("PROJECT_UPDATED", "Cats ?")
    assert hook.label_config == "<View></View>"


@pytest.mark.parametrize("parse", [parse_setup, parse_predict, parse_webhook])
@pytest.mark.parametrize("body", [None, [], "x", 3, {}, {"project": {}}, {"tasks": "x"}])
def test_bodies_that_are_none_are_refused_with_a_sentence(parse, body):
    with pytest.raises(RequestError) as refused:
        parse(body)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "raw",
    [None, 3, "", "yesterday", "2026-13-01", "9999-12-31T23:59:59-23:00", "0001-01-01", "x" * 100],
)
def test_times_that_are_none(raw):
    assert moment(raw) is None


def test_times_are_utc():
    expected = datetime(2026, 11, 22, 20, tzinfo=UTC)
    assert moment("2026-11-22T21:00:00+01:00") == expected
    assert moment("2026-11-22T20:00:00") == moment("2026-11-22T20:00:00Z") == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(body=JSON | st.dictionaries(st.sampled_from(["tasks", "project", "params"]), JSON))
def test_no_body_is_a_crash(body):
    for parse in (parse_setup, parse_predict, parse_webhook):
        with suppress(RequestError):
            parse(body)


def test_more_objects_than_any_request_holds_are_refused_unread() -> None:
    with pytest.raises(RequestError, match="too many objects"):
        parse_json(b"[" + b"{}," * 300_000 + b"{}]")

    assert len(parse_json(b"[" + b"{}," * 200_000 + b"{}]")) == 200_001


def test_what_would_stop_all_threads_for_long_is_refused_unread() -> None:
    with pytest.raises(RequestError, match="ten million values"):
        parse_json(b"[" + b"1," * 10_000_001 + b"1]")
    with pytest.raises(NotJsonError):  # repaired, it would take ten times as long
        parse_json(b'["\\ud83d","' + b"a" * (8 << 20) + b'"]')
