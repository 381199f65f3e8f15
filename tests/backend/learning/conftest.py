"""A site with labels: its database, its pictures and its registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.db.engine import Database
from tests.backend.learning.label_studio import host
from tests.backend.learning.site import Site, settings_for


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Iterator[Site]:
    """On SQLite and, where slow, on PostgreSQL."""
    url = database.url.render_as_string(hide_password=False)
    with host() as pictures:
        settings = settings_for(tmp_path, pictures.url, database_url=url)
        site = Site(tmp_path, settings, pictures)
        yield site
        site.close()


@pytest.fixture
def labeled(site: Site) -> Site:
    site.label(train=3, held_out=6)
    return site
