"""``/setup`` and ``/webhook`` without HTTP: what is kept of them, also if a stranger sends them."""

import json
from contextlib import suppress
from typing import Any

import pytest

from backend.api.service import RateLimit, Service
from backend.errors import RequestError, TooManyError
from backend.label_studio.payloads import parse_webhook
from backend.settings import Settings
from tests.backend.api.test_service import rows


def test_setup_remembers_where_label_studio_is(
    service: Service, settings: Settings, page: Any
) -> None:
    body = page.recorded("setup")

    assert service.setup(body) == {"model_version": service.version}
    (row,) = rows(settings, "select project_id, hostname, access_token from projects")
    assert row.project_id == 1
    assert row.hostname == "http://localhost:8080"


def test_a_setup_without_a_config_keeps_the_one_that_is_known(
    service: Service, settings: Settings, page: Any
) -> None:
    body = page.recorded("setup")
    service.setup(body)

    service.setup({**body, "schema": ""})

    (row,) = rows(settings, "select label_config from projects")
    assert row.label_config == body["schema"]


def test_a_webhook_is_kept_as_it_came(service: Service, settings: Settings, page: Any) -> None:
    body = page.recorded("webhook_ANNOTATION_CREATED_ui")
    raw = json.dumps(body).encode()

    assert service.webhook(raw, body) == {"status": "stored"}
    (row,) = rows(settings, "select action, project_id, body, processed_at from deliveries")
    assert (row.action, row.project_id, row.processed_at) == ("ANNOTATION_CREATED", 1, None)
    assert row.body == raw


def test_an_anonymous_setup_does_not_move_a_known_project(
    service: Service, settings: Settings, page: Any
) -> None:
    # given
    body = page.recorded("setup")
    service.setup(body)
    # when a stranger announces another host, for the same key and for the number alone
    service.setup({**body, "hostname": "https://evil.example", "access_token": "x" * 40})
    service.setup({**body, "project": "1", "hostname": "https://evil.example"})
    # then
    kept = rows(settings, "select hostname, access_token from projects where key like '1.%'")
    assert [(row.hostname, row.access_token) for row in kept] == [
        (body["hostname"], body["access_token"])
    ]


@pytest.mark.parametrize(
    "hostname", ["http://studio/?x=", "http://studio#", "http://user:pw@studio", "ftp://studio"]
)
def test_setup_refuses_a_host_name_with_more_in_it(
    service: Service, settings: Settings, page: Any, hostname: str
) -> None:
    with pytest.raises(RequestError, match="must look like"):
        service.setup({**page.recorded("setup"), "hostname": hostname})

    assert rows(settings, "select * from projects") == []


def test_start_training_requests_a_job_and_changes_no_label(
    service: Service, settings: Settings, page: Any
) -> None:
    # given one that would replace the labeling config for good
    body = page.recorded("webhook_START_TRAINING")
    body["project"] |= {"updated_at": "2999-01-01T00:00:00Z", "label_config": "<View/>" * 1000}

    service.webhook(json.dumps(body).encode(), body)

    (row,) = rows(settings, "select body from deliveries")
    assert json.loads(row.body).keys() == {"action", "project"}
    assert json.loads(row.body)["project"].keys() == {"id", "created_at"}


def test_start_training_is_rate_limited(service: Service, settings: Settings, page: Any) -> None:
    body = page.recorded("webhook_START_TRAINING")
    service.webhook(b"", body)
    for _ in range(20):
        with pytest.raises(TooManyError):
            service.webhook(b"", body)

    assert len(rows(settings, "select * from deliveries")) == 1


def test_strangers_cannot_use_up_the_trainings_of_others(
    service: Service, settings: Settings, page: Any
) -> None:
    # given a caller who names one project after the other
    service.setup(page.recorded("setup"))
    known, invented = (page.recorded("webhook_START_TRAINING") for _ in range(2))
    for number in range(100, 200):
        invented["project"]["id"] = number
        with suppress(TooManyError):
            service.webhook(b"", invented)
    # when
    service.webhook(b"", known)
    # then
    assert len(rows(settings, "select * from deliveries")) == 6


def test_a_creation_date_before_all_calendars_makes_no_key_that_stops_the_worker(
    service: Service, settings: Settings, page: Any
) -> None:
    body = page.recorded("webhook_ANNOTATION_CREATED_ui")
    body["project"]["created_at"] = "0001-01-01T00:00:00Z"

    assert parse_webhook(body).project.key == "1"


def test_the_same_key_waits_and_others_do_not() -> None:
    now = 100.0
    limit = RateLimit(each_s=2.0, most=30, clock=lambda: now)

    assert limit.take("1")
    assert limit.take("2")
    assert not limit.take("1")
    now += 2.1
    assert limit.take("1")


def test_all_together_are_limited_and_a_minute_later_are_not() -> None:
    now = 100.0
    limit = RateLimit(most=30, clock=lambda: now)

    assert sum(limit.take(str(number)) for number in range(1_000)) == 30
    now += 61
    assert limit.take("1")
