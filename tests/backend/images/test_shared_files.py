"""Files that this machine shares with Label Studio: read from disk, and none outside the folder."""

import os
from pathlib import Path

import pytest
from PIL import Image

from backend.errors import PictureAddressError, PictureFetchError
from tests.backend.images.conftest import NewPictures, Site


@pytest.fixture
def shared(tmp_path: Path, png: bytes) -> Path:
    """Label Studio's document root with a picture in it, and one beside it."""
    root = tmp_path / "shared"
    (root / "sub dir").mkdir(parents=True)
    (root / "sub dir" / "a.png").write_bytes(png)
    (tmp_path / "outside.png").write_bytes(png)
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    return root


def test_a_shared_file_is_read_from_disk(
    shared: Path, new_pictures: NewPictures, label_studio: Site
) -> None:
    pictures = new_pictures(local_files_root=shared)

    for address in (
        "/data/local-files/?d=sub%20dir/a.png",
        "/data/local-files?d=/sub%20dir/./a.png",
        f"{label_studio.url}/data/local-files/?d=sub%20dir/../sub%20dir/a.png",
    ):
        assert pictures.read(address, 1, 1).width == 40

    assert label_studio.seen == []


def test_a_shared_file_that_is_replaced_is_another_picture(
    shared: Path, new_pictures: NewPictures
) -> None:
    pictures = new_pictures(local_files_root=shared)
    address = "/data/local-files/?d=sub%20dir/a.png"
    first = pictures.read(address, 1, 1)

    Image.new("RGB", (10, 10)).save(shared / "sub dir" / "a.png")

    assert pictures.key_of(address, 1, 1) is None
    assert pictures.read(address, 1, 1).key != first.key


@pytest.mark.parametrize(
    "d",
    [
        "../outside.png",
        "/../outside.png",
        "sub%20dir/../../outside.png",
        "..%2Foutside.png",
        "..",
        "",
        "%2e%2e/outside.png",
        "a%00.png",
        "../shared/../outside.png",
        ".",
    ],
)
def test_no_path_leads_out_of_the_shared_folder(
    d: str, shared: Path, new_pictures: NewPictures, label_studio: Site
) -> None:
    with pytest.raises(PictureAddressError):
        new_pictures(local_files_root=shared).read(f"/data/local-files/?d={d}", 1, 1)

    assert label_studio.seen == []


@pytest.mark.parametrize("d", ["link.png", "not-here.png", "sub%20dir"])
def test_a_file_that_is_not_in_the_shared_folder_is_left_to_label_studio(
    d: str, shared: Path, new_pictures: NewPictures, label_studio: Site, png: bytes
) -> None:
    label_studio.give("/data/local-files/", png)

    assert new_pictures(local_files_root=shared).read(f"/data/local-files/?d={d}", 1, 1).width == 40
    assert label_studio.paths == [f"/data/local-files/?d={d}"]


def test_a_shared_pipe_does_not_block(
    shared: Path, new_pictures: NewPictures, label_studio: Site
) -> None:
    os.mkfifo(shared / "pipe.png")

    with pytest.raises(PictureFetchError, match="404"):
        new_pictures(local_files_root=shared).read("/data/local-files/?d=pipe.png", 1, 1)
