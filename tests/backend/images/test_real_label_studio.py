"""A real Label Studio: its uploads, its shared files, its two kinds of token."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.demo.label_studio_server import label_studio as start_label_studio
from backend.errors import PictureFetchError, TokenError
from backend.images.loader import Pictures
from backend.label_studio.client import LabelStudio
from tests.backend.images.conftest import NewPictures

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="Cat"/></BrushLabels></View>"""


@pytest.mark.slow
def test_pictures_with_either_kind_of_token(
    tmp_path: Path, new_pictures: NewPictures, png: bytes
) -> None:
    with start_label_studio(tmp_path / "studio") as server:
        # given a project with an uploaded picture, and one in a folder that Label Studio serves
        legacy = LabelStudio(server.url, server.token)
        project = int(legacy.create_project("pictures", CONFIG)["id"])
        (uploaded,) = legacy.upload(project, "ünder the sea.png", png)
        folder = tmp_path / "studio" / "shared"
        folder.mkdir()
        (folder / "b c.png").write_bytes(png)
        legacy.post("/api/storages/localfiles", {"project": project, "path": str(folder)})
        address = legacy.task(uploaded)["data"]["image"]
        shared = "/data/local-files/?d=shared/b%20c.png"
        gone = address.replace(".png", "-gone.png")

        def pictures(token: str, name: str) -> Pictures:
            return new_pictures(
                data=tmp_path / name,
                label_studio_url=server.url,
                label_studio_token=SecretStr(token),
            )

        # when it is asked with the legacy token, then with a personal one
        personal = str(legacy.post("/api/token/")["token"])
        assert LabelStudio(server.url, personal).personal
        for name, token in (("legacy", server.token), ("personal", personal)):
            reader = pictures(token, name)
            for place in (address, f"{server.url}{address}", shared):
                assert reader.read(place, project, uploaded).width == 40
            with pytest.raises(PictureFetchError, match="answered"):
                reader.read(gone, project, uploaded)
            with pytest.raises(PictureFetchError, match="answered 404"):
                reader.read("s3://no-such-storage/a.png", project, uploaded)

        # then with a legacy token that the organization turned off, as new installs do
        modern = LabelStudio(server.url, personal)
        modern.post("/api/jwt/settings", {"legacy_api_tokens_enabled": False})
        with pytest.raises(TokenError, match="legacy tokens turned off"):
            legacy.project(project)
        with pytest.raises(PictureFetchError, match="personal access token"):
            pictures(server.token, "dead").read(address, project, uploaded)
        assert modern.project(project)["id"] == project
        assert pictures(personal, "alive").read(address, project, uploaded).width == 40
        assert [one["id"] for one in modern.pages("/api/projects/")] == [project]
        assert [task["id"] for task in modern.tasks(project, fields="all")] == [uploaded]
        assert modern.annotations(uploaded) == []
        assert modern.webhooks(project) == []
        assert modern.ml_backends(project) == []
        assert modern.whoami()["email"] == server.user
        assert modern.version()["release"]
