"""Encryption at rest: one data key per subject, wrapped by a root key that is never written by us.

The caller's `RootKey` (a TPM, a keyring, a key server) gives keys of 32 bytes and can change them. ``keys.json`` in the
store's folder holds only wrapped keys, so a subject is unreadable at once when its wrapped key is dropped and the
root is rotated: older copies of the file that a wear-levelled card may still hold open with no key that exists.
Data and keys are sealed with AES-256-GCM (NIST SP 800-38D); a nonce is 12 random bytes, stored before the text.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from .bounded import read_bounded
from .errors import BadRecord, StoreDamaged, WrongKey, io_error
from .jsonfile import read_json, write_json
from .whole import sweep, write_whole

KEY_BYTES = 32
NONCE_BYTES, TAG_BYTES = 12, 16
SEAL_BYTES = NONCE_BYTES + TAG_BYTES  # what sealing adds to a text
FILE = "keys.json"
_MOST_BYTES = 1 << 16  # of a key file
_CHECK = -2  # a wrapped text that tells whether the root key is the right one


class RootKey(Protocol):
    """Where root keys live: outside the store. A rotation is `add`, then `retire`; a crash between the two
    leaves both keys, and the next opening of the store ends the rotation.
    """

    def keys(self) -> Sequence[bytes]:
        """The keys that exist, 32 bytes each, the present one first."""

    def add(self) -> bytes:
        """Makes another key the present one and returns it; the others still exist."""

    def retire(self) -> None:
        """Forgets all keys but the present one for good."""


class KeyFile:
    """Root keys in a file of the caller, a hexadecimal line each: on a token, in a tmpfs that a key server
    fills, or in a partition of its own. Made with mode 0600 when it does not exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))  # the process may change its folder
        try:
            if not self.path.exists():
                self._write([os.urandom(KEY_BYTES)])
        except OSError as error:
            raise io_error(error, f"The key file '{self.path}' cannot be made") from error

    def keys(self) -> list[bytes]:
        try:
            return [checked(bytes.fromhex(line)) for line in read_bounded(self.path, _MOST_BYTES).decode().split()]
        except OSError as error:
            raise io_error(error, f"The key file '{self.path}' cannot be read") from error
        except ValueError as error:
            raise BadRecord(f"The key file '{self.path}' cannot be used: {error}.", "Give another one.") from error

    def add(self) -> bytes:
        new = os.urandom(KEY_BYTES)
        self._write([new, *self.keys()])
        return new

    def retire(self) -> None:
        kept = self.keys()[:1]
        if not kept:
            raise BadRecord(f"The key file '{self.path}' holds no key.", "Restore it.")
        self._write(kept)
        sweep(self.path.parent, self.path.name + ".*")

    def _write(self, keys: Sequence[bytes]) -> None:
        write_whole(self.path, "".join(k.hex() + "\n" for k in keys).encode())


class SubjectKeys:
    """The data keys of one store's subjects (-1: samples of no subject). A reader ends no rotation: the owner may be
    in the middle of it.
    """

    def __init__(self, directory: Path, store: bytes, root: RootKey, read_only: bool = False) -> None:
        self._read_only = read_only
        self._directory, self._store, self._root = directory, store, root
        self._keys: dict[int, bytes] = {}
        self._ciphers: dict[int, Any] = {}
        if (directory / FILE).exists():
            self._read()

    # -- texts

    def seal(self, subject: int, text: bytes, bound: bytes) -> bytes:
        """nonce + ciphertext + tag of ``text``; it opens only with the same ``bound`` bytes beside it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher(subject).encrypt(nonce, text, self._store + bound)

    def open(self, subject: int, sealed: bytes, bound: bytes) -> bytes | None:
        """The inverse of `seal`; None when the key is gone or the text is not what was sealed."""
        if subject not in self._keys or len(sealed) < SEAL_BYTES:
            return None
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher(subject).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._store + bound)
        except InvalidTag:
            return None

    def _cipher(self, subject: int) -> Any:
        found = self._ciphers.get(subject)
        if found is None:
            found = self._ciphers[subject] = aead(self._keys[subject])
        return found

    # -- keys

    @property
    def subjects(self) -> list[int]:
        """Subjects whose key exists."""
        return sorted(self._keys)

    def need(self, subjects: Iterable[int]) -> None:
        """Makes keys for subjects that have none; on flash when it returns."""
        new = {int(s) for s in subjects} - self._keys.keys()
        if new:
            self._write(self._root.keys()[0], self._keys | {s: os.urandom(KEY_BYTES) for s in new})

    def drop(self, subject: int) -> bool:
        """Forgets a subject's key and rotates the root; False when there was none. Nothing sealed with it can
        be opened any more, whatever copies of it exist.
        """
        if subject not in self._keys:
            return False
        self._rotate(self._root.add(), {s: k for s, k in self._keys.items() if s != subject})
        return True

    def _rotate(self, root: bytes, keys: dict[int, bytes]) -> None:
        """From here on no older copy of the file can be opened; the older root goes once the new file was read."""
        self._write(root, keys)
        if self._unwrap([root])[0] != keys:
            raise StoreDamaged(f"'{self._directory / FILE}' is not what was written.", "Check the device (dmesg).")
        self._root.retire()

    def _write(self, root: bytes, keys: dict[int, bytes]) -> None:
        """``keys`` are the ones there are, on flash and then here."""
        cipher = aead(checked(root))
        wrapped = {str(s): _wrap(cipher, self._bound(s), k) for s, k in sorted(keys.items())}
        wrapped[str(_CHECK)] = _wrap(cipher, self._bound(_CHECK), b"edgecl")
        path = self._directory / FILE
        try:
            write_json(path, {"format": 1, "wrapped": wrapped})
        except OSError as error:
            raise io_error(error, f"'{path}' cannot be written") from error
        self._keys = keys
        self._ciphers = {s: c for s, c in self._ciphers.items() if s in keys}

    def _read(self) -> None:
        roots = self._root.keys()
        self._keys, fits = self._unwrap(roots)
        if len(roots) > 1 and not self._read_only:  # a rotation that did not come to its end
            if fits != roots[0]:
                self._rotate(roots[0], self._keys)
            else:
                self._root.retire()

    def _unwrap(self, roots: Sequence[bytes]) -> tuple[dict[int, bytes], bytes]:
        """The keys in the file, and the root that opens it."""
        path = self._directory / FILE
        try:
            wrapped = {int(s): base64.b64decode(w) for s, w in read_json(path)["wrapped"].items()}
            if any(not -2 <= s < 2**31 for s in wrapped):
                raise ValueError("it names a subject that cannot be one")
        except OSError as error:
            raise io_error(error, f"'{path}' cannot be read") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDamaged(f"'{path}' cannot be read: {error}.", "Restore it from a copy of the store.") from error
        check = wrapped.pop(_CHECK, b"")
        fits = [k for k in roots if _unwrap(aead(checked(k)), self._bound(_CHECK), check) is not None]
        if not fits:
            raise WrongKey(f"No root key given opens '{path}'.", "Give the key that the store was last used with.")
        cipher = aead(fits[0])
        keys = {}
        for subject, text in wrapped.items():
            key = _unwrap(cipher, self._bound(subject), text)
            if key is None or len(key) != KEY_BYTES:
                raise StoreDamaged(f"The key of subject {subject} in '{path}' is damaged.", "Restore the file.")
            keys[subject] = key
        return keys, fits[0]

    def _bound(self, subject: int) -> bytes:
        return self._store + subject.to_bytes(8, "little", signed=True)


def checked(key: bytes) -> bytes:
    """``key``, if it is 32 bytes."""
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise BadRecord("The root key is not 32 bytes.", "Make one with os.urandom(32).")
    return key


def aead(key: bytes) -> Any:
    """AES-256-GCM of the `cryptography` package (extra ``crypto``)."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise BadRecord(
            "Encryption at rest needs the package 'cryptography'.", "Install it with: pip install 'edgecl[crypto]'."
        ) from error
    return AESGCM(key)


def _wrap(cipher: Any, bound: bytes, key: bytes) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(nonce + cipher.encrypt(nonce, key, bound)).decode()


def _unwrap(cipher: Any, bound: bytes, sealed: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    try:
        key: bytes = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
        return key
    except InvalidTag:
        return None
