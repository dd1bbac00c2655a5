"""Writing so that what was written is on the disk: syncing, small files written through, second names of files."""

import os
import shutil
from pathlib import Path


def sync_file(path: Path) -> None:
    """Wait until a file's (or a folder's) content has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a small file, and wait until it has reached the disk."""
    path.write_text(text, encoding="utf-8")
    sync_file(path)


def link_or_copy(path: Path, new: Path) -> None:
    """Give a file a second name; or copy it, where the file system has no hard links."""
    try:
        new.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, new)
        sync_file(new)
