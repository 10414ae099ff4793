"""Access: who may do what. A unix socket is a role; over TCP a token is."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from ..errors import BadInput
from ..storage.bounded import read_bounded
from .refusals import Refused

ANYONE, METRICS, USE, ADMIN = "anyone", "metrics", "use", "admin"  # anyone: the page itself, which holds nothing
# what each role may do; reading metrics and health is everybody's
GRANTS = {METRICS: frozenset({METRICS}), USE: frozenset({METRICS, USE}), ADMIN: frozenset({METRICS, USE, ADMIN})}
_LINE = re.compile(r"(metrics|use|admin)\s+([A-Za-z0-9_.-]{1,64})\s+([0-9a-f]{64})")


class Token(NamedTuple):
    role: str
    name: str
    digest: str


def read_tokens(path: str | Path) -> list[Token]:
    """Lines of 'role name sha256(token)'; lines that begin with # are comments. Raises `BadInput`, also for a file that
    everybody may read.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode) and mode & 0o004:
            raise BadInput(f"Everybody may read the tokens in '{path}'.", f"Do: chmod o-rwx {path}")
        text = read_bounded(path, 1 << 20).decode()
    except OSError as error:
        raise BadInput(f"The tokens in '{path}' cannot be read: {error.strerror}.", "Check the path.") from error
    except ValueError as error:
        raise BadInput(f"The tokens in '{path}' cannot be read: {error}.", "Write a text file.") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise BadInput(f"Line {number} of '{path}' is no token.", "Write: role name sha256; see edgecl ctl token.")
        found.append(Token(*parts.groups()))
    return found


class Gate:
    """Roles of requests over TCP.

    hosts : names that a request may call us by, lower case, without port
    """

    def __init__(self, path: str | Path, hosts: frozenset[str]) -> None:
        self._path, self._hosts = path, hosts
        self._tokens = read_tokens(path)

    def reload(self) -> None:
        """Read the file again. Raises `BadInput`, with the old tokens in force."""
        self._tokens = read_tokens(self._path)

    def check_host(self, host: str | None) -> None:
        """Raise `Refused` (421) for a host that is not ours: a page of others that says it is us reaches nothing."""
        name = (host or "").lower()
        name = name[: name.rindex(":")] if re.search(r":\d+$", name) else name
        if name.strip("[]") not in self._hosts:
            raise Refused(421, f"This is not '{name[:64]}'.", "Add the name to serve.hosts.")

    def roles(self, authorization: str | None, host: str | None) -> frozenset[str]:
        """What a request may do. Raises `Refused`: 401 without a good token; as `check_host`."""
        self.check_host(host)
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(401, "The request has no token.", "Send Authorization: Bearer TOKEN.")
        digest = hashlib.sha256(token.strip().encode("utf-8", "replace")).hexdigest()
        granted: frozenset[str] | None = None
        for known in self._tokens:  # all of them: the time does not tell which one was nearly right
            if hmac.compare_digest(known.digest, digest):
                granted = GRANTS[known.role]
        if granted is None:
            raise Refused(401, "The token is not known.", "Ask for one: edgecl ctl token.")
        return granted
