"""Files that only their owner may read: the secret key and the database, made on first use under `var/`.

Two processes may start at once, so a secret is written aside and then linked into place: the loser of the race reads
what the winner wrote, and nobody ever reads half a key.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

_SECRET_BYTES = 50


def private_directory(path: Path) -> Path:
    """Make `path` with mode 0700 if it is missing, and return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def private_file(path: Path) -> Path:
    """Make `path` an empty file with mode 0600 if it is missing, and return it."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    return path


def secret_in(path: Path) -> str:
    """Return the secret that `path` holds, made there with mode 0600 if it is missing."""
    if not path.exists():
        aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(_SECRET_BYTES))
            with suppress(FileExistsError):  # another process was first; its secret is the one
                os.link(aside, path)
        finally:
            aside.unlink()
    secret = path.read_text().strip()
    if not secret:
        raise ValueError(f"{path} is empty: delete it, and a new secret key is made at the next start")
    return secret
