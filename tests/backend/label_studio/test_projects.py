"""Which Label Studio a project belongs to, even if another one is announced."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from backend.db.engine import Database
from backend.db.models import ProjectRow
from backend.errors import LabelStudioError, TooManyError
from backend.label_studio import host as host_module
from backend.label_studio.credentials import Credentials, save_credentials
from backend.label_studio.payloads import Project, SetupRequest
from backend.label_studio.projects import LabelStudioHosts, Projects
from backend.label_studio.ssrf import read_address
from backend.settings import Settings
from tests.backend.label_studio.conftest import Host

TOKEN = "0123456789abcdef0123456789abcdef01234567"
OURS = Project(1, "1795380093")


def announced(project: Project, hostname: str, token: str = TOKEN) -> SetupRequest:
    return SetupRequest(project, "<View/>", hostname, token)


@pytest.fixture
def projects(database: Database) -> Projects:
    return Projects(database)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, label_studio_url="", label_studio_token=SecretStr(""))


def test_without_the_password_a_known_project_keeps_its_host_and_token(projects: Projects) -> None:
    # given
    projects.remember(announced(OURS, "https://studio.example"), logged_in=False)
    # when
    projects.remember(announced(OURS, "https://evil.example"), logged_in=False)
    projects.remember(announced(OURS, "https://studio.example", "a" * 40), logged_in=False)
    # then
    assert projects.announced(OURS) == ("https://studio.example", TOKEN)


@pytest.mark.parametrize(
    ("known", "token", "believed"),
    [(TOKEN, TOKEN, True), (TOKEN, "b" * 40, False), (TOKEN, "", False), ("", "", False)],
)
def test_without_the_password_only_the_token_of_a_project_changes_its_labels(
    projects: Projects, known: str, token: str, believed: bool
) -> None:
    # given
    first = announced(OURS, "https://studio.example", known)
    projects.remember(first, logged_in=False)
    # when
    other = replace(first, access_token=token, label_config="<View></View>")
    projects.remember(other, logged_in=False)
    # then
    assert (projects.label_config(OURS) == "<View></View>") is believed


def test_a_stranger_cannot_drop_a_project_to_announce_it_again(
    projects: Projects, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.label_studio.projects._MAX_UNUSED", 10)
    # given a project that nobody has clicked in yet
    projects.remember(announced(OURS, "https://studio.example"), logged_in=False)
    # when
    evil = [announced(Project(2, str(number)), "https://evil.example") for number in range(11)]
    for each in evil[:9]:
        projects.remember(each, logged_in=False)
    with pytest.raises(TooManyError, match="Set a password"):
        projects.remember(evil[9], logged_in=False)
    # then
    projects.remember(announced(OURS, "https://evil.example"), logged_in=False)
    assert projects.announced(OURS) == ("https://studio.example", TOKEN)
    # and one that was given up makes room
    long_ago = datetime.now(UTC) - timedelta(days=8)
    with database.write() as connection:
        unused = update(ProjectRow).where(ProjectRow.key == OURS.key)
        connection.execute(unused.values(updated_at=long_ago))
    projects.remember(evil[10], logged_in=False)
    assert projects.announced(OURS) is None


def test_with_the_password_it_moves_and_after_connect_it_may_announce_again(
    projects: Projects,
) -> None:
    projects.remember(announced(OURS, "https://one.example"), logged_in=False)
    projects.remember(announced(OURS, "https://two.example"), logged_in=True)
    assert projects.announced(OURS) == ("https://two.example", TOKEN)

    projects.forget_announced(1)
    projects.remember(announced(OURS, "https://three.example"), logged_in=False)
    assert projects.announced(OURS) == ("https://three.example", TOKEN)


def test_another_key_with_the_number_does_not_take_over(projects: Projects) -> None:
    projects.remember(announced(OURS, "https://studio.example"), logged_in=False)
    theirs = announced(Project(1, "1"), "https://evil.example")
    projects.remember(replace(theirs, label_config="<View></View>"), logged_in=False)

    for project in (OURS, Project(1)):
        assert projects.announced(project) == ("https://studio.example", TOKEN)
        assert projects.label_config(project) == "<View/>"


def test_access_of_connect_goes_to_the_project_that_was_connected(
    projects: Projects, settings: Settings
) -> None:
    # given
    save_credentials(settings, 1, Credentials("http://studio", TOKEN, "http://me", OURS.created))
    projects.remember(announced(Project(1, "1"), "https://evil.example", ""), logged_in=False)
    hosts = LabelStudioHosts(settings, projects.announced)
    # then
    assert (hosts.of(OURS).url, hosts.of(OURS).trusted) == ("http://studio", True)
    assert (hosts.of(1).url, hosts.of(1).trusted) == ("http://studio", True)
    stranger = hosts.of(Project(1, "1"))
    assert (stranger.url, stranger.trusted) == ("https://evil.example", False)
    assert TOKEN not in str(stranger.authorization_for("https://evil.example/a"))


def test_unused_projects_are_limited_and_used_ones_stay(
    projects: Projects, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.label_studio.projects._MAX_UNUSED", 10)
    # given a project with labels
    projects.remember(announced(OURS, "https://studio.example"))
    from backend.db.models import lock_samples

    with database.write() as connection:
        lock_samples(connection, OURS.key)
    # when
    for number in range(30):
        projects.remember(announced(Project(2, str(number)), "https://evil.example"))
    # then
    with database.read() as connection:
        keys = connection.execute(select(ProjectRow.key)).scalars().all()
        assert connection.execute(select(func.count(ProjectRow.key))).scalar_one() == 11
    assert OURS.key in keys
    assert "2.29" in keys


def hosts(announced: tuple[str, str] | None = None, **settings: Any) -> LabelStudioHosts:
    # Distinct from anything in the environment of the person who runs this.
    values = {"label_studio_url": "", "label_studio_token": SecretStr(""), **settings}
    return LabelStudioHosts(Settings(**values), lambda project: announced)


def test_a_project_lives_where_setup_said() -> None:
    client = hosts(("http://studio:8080", TOKEN)).of(1)

    assert client.url == "http://studio:8080"
    assert client.authorization_for("http://studio:8080/a") == {"Authorization": f"Token {TOKEN}"}


def test_the_settings_come_before_what_setup_said() -> None:
    client = hosts(
        ("http://localhost:8080", "announced"),
        label_studio_url="http://studio:8080",
        label_studio_token=SecretStr(TOKEN),
    ).of(1)

    assert client.authorization_for("http://studio:8080/a") == {"Authorization": f"Token {TOKEN}"}
    assert client.authorization_for("http://localhost:8080/a") == {}
    assert client.place("http://localhost:8080/data/x?d=1") == "http://studio:8080/data/x?d=1"


def test_the_token_of_the_settings_goes_to_no_host_that_a_request_announced() -> None:
    client = hosts(("http://evil.example", "x"), label_studio_token=SecretStr(TOKEN)).of(1)

    assert TOKEN not in str(client.authorization_for("http://evil.example/a"))


def test_an_unknown_label_studio_is_explained() -> None:
    with pytest.raises(LabelStudioError, match="PHRASECLICK_LABEL_STUDIO_URL"):
        hosts().of(1)


def test_projects_of_one_host_share_a_client() -> None:
    both = hosts(("http://studio:8080", TOKEN))

    assert both.of(1) is both.of(2)


# -- a host that only announced itself


def test_an_announced_private_host_is_not_asked_until_an_admin_names_it(
    host: Host, settings: Settings
) -> None:
    host.give("/api/projects/1/", {"detail": "top"}, 403)
    # when it only announced itself
    client = LabelStudioHosts(settings, lambda project: (host.url, TOKEN)).of(OURS)
    with pytest.raises(LabelStudioError, match=r"private network.*phraseclick connect"):
        client.project(1)
    assert host.calls == []
    # when an admin connected it
    save_credentials(settings, 1, Credentials(host.url, TOKEN, "http://me"))
    client = LabelStudioHosts(settings, lambda project: (host.url, TOKEN)).of(OURS)
    with pytest.raises(LabelStudioError, match="top"):
        client.project(1)
    assert len(host.calls) == 1


def test_the_words_of_an_announced_host_are_not_repeated_and_its_answer_is_bounded(
    host: Host, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_settings = settings.model_copy(update={"allow_private_addresses": True})
    client = LabelStudioHosts(open_settings, lambda project: (host.url, TOKEN)).of(OURS)

    host.give("/api/projects/1/", {"detail": "top"}, 403)
    with pytest.raises(LabelStudioError) as caught:
        client.project(1)
    assert len(host.calls) == 1
    assert "top" not in str(caught.value)

    monkeypatch.setattr(host_module, "_ANNOUNCED_BYTES", 1000)
    host.give("/api/projects/1/", b" " * 1001)
    with pytest.raises(LabelStudioError, match="too much"):
        client.project(1)


@pytest.mark.parametrize(
    "address",
    [
        "http://studio/?a=",
        "http://studio?next=/secret#",
        "http://studio/#",
        "http://user:password@studio",
        "http://user@studio",
        "http://evil.example\\@studio",
        "http://studio/a b",
        "http://studio/a\r\nX-Header: 1",
        "file:///etc/passwd",
        "gopher://studio",
        "http://",
        "http://" + "a" * 600,
    ],
)
def test_an_address_with_more_than_a_host_and_a_path_is_refused(address: str) -> None:
    with pytest.raises(LabelStudioError, match="must look like"):
        read_address(address)


@pytest.mark.parametrize(
    ("address", "read"),
    [
        ("http://studio:8080/", "http://studio:8080"),
        ("https://labels.example/studio", "https://labels.example/studio"),
        ("studio:8080", "http://studio:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://studio:8080/projects/3/data?tab=1", "http://studio:8080"),
        ("https://labels.example/studio/user/account", "https://labels.example/studio"),
    ],
)
def test_addresses_as_label_studio_announces_them(address: str, read: str) -> None:
    assert read_address(address) == read
