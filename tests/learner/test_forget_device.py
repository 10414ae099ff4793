"""After `forget` with encryption the raw device holds nothing of the subject, not even where files once were."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from contextlib import contextmanager

import pytest
from edgecl.storage import KeyFile
from edgecl.storage.keys import _unwrap, aead
from test_forget_subject import live_bytes, mark, pictures, taught


@pytest.fixture
def card(tmp_path):
    """(image, mounted()): an ext4 file system on a loop device, and its folder while it is mounted."""
    pytest.importorskip("cryptography")
    if os.getuid():
        pytest.skip("mounting a loop device needs root")
    if subprocess.run(["which", "mkfs.ext4"], capture_output=True).returncode:
        pytest.skip("needs mkfs.ext4")
    image, place = tmp_path / "card.img", tmp_path / "card"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)

    @contextmanager
    def mounted():
        if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode:
            pytest.skip("no loop device")
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)

    return image, mounted


def keys_of(image: bytes, subject: int) -> list[bytes]:
    """Every copy of a subject's wrapped key that the device still holds."""
    return [base64.b64decode(m) for m in set(re.findall(rb'\\"%d\\": \\"([A-Za-z0-9+/=]{40,})' % subject, image))]


def test_with_a_key_the_device_holds_no_plaintext_and_no_key_that_opens(tmp_path, card):
    image, mounted = card
    root = KeyFile(tmp_path / "root.key")
    before = root.keys()[0]
    with mounted() as place, taught(place, root, keep_checkpoints=2) as ours:
        bound = ours.life.sealing.keys._bound
        assert ours.forget(2).holds == "key dropped"
        ours.retrain_without(1)
    raw = image.read_bytes()
    assert not any(mark(s) in raw for s in (1, 2, 3))
    assert pictures(2)[0][0].tobytes()[:24] not in raw
    copies = keys_of(raw, 2)
    assert any(_unwrap(aead(before), bound(2), c) for c in copies)  # an old copy is there, as on worn flash
    assert not any(_unwrap(aead(k), bound(2), c) for c in copies for k in (*root.keys(),))  # and no key


def test_without_one_the_live_files_hold_nothing_of_it_though_the_device_did(tmp_path, card):
    image, mounted = card
    with mounted() as place:
        with taught(place, None) as ours:
            ours.save()
            os.sync()
            assert mark(2) in image.read_bytes() and mark(2) in live_bytes(place)
            ours.forget(2)
            assert mark(2) not in live_bytes(place)
        assert mark(2) not in live_bytes(place) and mark(3) in live_bytes(place)
