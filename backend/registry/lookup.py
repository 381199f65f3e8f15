"""From a version's name, as people write it, to the local folder of its checkpoint."""

from pathlib import Path

from backend.label_studio.payloads import Project
from backend.registry.records import BASE
from backend.registry.versions import Registry, base_folder
from backend.settings import Settings
from model import checkpoint_files as files


def resolve(name: str, settings: Settings) -> Path:
    """See ``backend.registry.resolve``."""
    if name == files.SHIPPED:
        return files.SHIPPED_FOLDER
    if name == "base":
        return base_folder(settings.checkpoint)
    folder = Path(name).expanduser()
    if folder.is_dir() or folder.is_absolute():
        files.read_sums(folder)
        return folder
    registry = Registry.open(settings)
    try:
        champion, _, project = name.partition(":")
        if champion == "champion":
            champions = registry.champions()
            owner = Project.read(registry.project_key(project)) if project else None
            serves = champions.of(owner) if owner else champions.of_owner(BASE)
            return registry.folder(serves) if serves else base_folder(settings.checkpoint)
        return registry.folder(name)
    finally:
        registry.close()
