"""Makes the README's picture of the dashboard: ``python -m tests.backend.web.portrait FILE.png``.

A team's half year on photographs of streets, made up as for the tests, with names that can be read.
"""

import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

from backend.api.service import Service
from backend.app import create_app
from backend.settings import Settings
from model.predictor import Predictor
from tests.backend.reports import big
from tests.backend.servers import served
from tests.browser import chromium, few_colours

LABELS = ("Car", "Person", "Traffic light", "Bus", "Bicycle", "Sign", "Kerb")
VERSIONS = ("phraseclick", "streets-4e0c", "streets-91af", "streets-c27d", "streets-d803")
SIZE = {"width": 1180, "height": 1345}


def portrait() -> bytes:
    """The project's page, from the top to what its promotions changed."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), device="cpu")
        service = Service(settings, Predictor(settings.checkpoint, device="cpu"))
        with patch.object(big, "LABELS", LABELS), patch.object(big, "VERSIONS", VERSIONS):
            big.fill(service.database, 14_000, masked_tasks=0)
        try:
            with served(create_app(settings, service)) as home, chromium() as browser:
                page = browser.new_page(viewport=SIZE, device_scale_factor=2)
                page.goto(f"{home}/dashboard/projects/{big.PROJECT}")
                shot = page.screenshot()
        finally:
            service.close()
    return few_colours(shot, 128)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(portrait())
