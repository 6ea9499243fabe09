"""Write a file as a whole or not at all."""

import os
import tempfile
from pathlib import Path


def check_destination(path: str | os.PathLike[str]) -> Path:
    """Return the path a file is to be written to, or say why that cannot work.

    Args:
        path: the file.

    Raises:
        ValueError: if the path is a folder, or its folder does not exist or cannot be written to.
    """
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"out: wanted the name of a file, got the folder {target}")
    folder = target.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"out: the folder {folder} does not exist.")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"out: the folder {folder} cannot be written to.")
    return target


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file in one step: readers see the old file or the new one, never a part.

    Args:
        path: the file; it is replaced if it exists.
        content: its new content; text is written as UTF-8.

    Returns:
        The path.

    Raises:
        ValueError: as `check_destination`.
    """
    target = check_destination(path)
    handle, name = tempfile.mkstemp(dir=target.absolute().parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; a page is for others too.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return target
