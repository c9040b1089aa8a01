"""What clients of the Hub have downloaded to this machine before."""

from collections.abc import Mapping
from pathlib import Path


def cached_model_file(
    repo_id: str, revision: str | None, names: tuple[str, ...], environ: Mapping[str, str]
) -> Path | None:
    """Return the first of these files of a model that lies in the cache of huggingface_hub, None where none does."""
    from huggingface_hub import try_to_load_from_cache

    folder = _cache_folder(environ)
    for name in names:
        found = try_to_load_from_cache(repo_id, name, cache_dir=folder, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _cache_folder(environ: Mapping[str, str]) -> Path:
    """Return where jobs with these variables keep what they download, as huggingface_hub reads them."""
    if folder := environ.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    general = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(environ.get("HF_HOME") or f"{general}/huggingface").expanduser() / "hub"
