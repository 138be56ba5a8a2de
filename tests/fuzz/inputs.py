"""Where the inputs of the targets lie, and how one is written."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def written(folder: Path, name: str, content: bytes) -> Path:
    """Write a file below a folder and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
