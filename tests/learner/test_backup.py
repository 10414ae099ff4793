"""A learner goes into one file and comes back, there or elsewhere; what is no whole backup is refused."""

from __future__ import annotations

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from edgecl.storage import KeyFile
from test_training_plan import OPTIONS, engine_of, same_bits, some

from edgecl import BadInput, Learner
from edgecl.cli import run_command_line
from edgecl.errors import EdgeclError


def made(tmp_path, **more):
    ours = Learner("mlp", store=str(tmp_path / "s"), path=tmp_path / "p", method="der++", **OPTIONS, **more)
    ours.observe(*some([0, 1]), task="a", subject=3).wait()
    ours.learn(epochs=2)
    ours.observe(*some([2, 3]), task="b", subject=4).wait()
    ours.learn(steps=3)
    return ours


@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])
def test_a_backup_goes_on_elsewhere_as_the_learner_does_here(tmp_path, encrypted):
    key = {"root_key": KeyFile(tmp_path / "key")} if encrypted else {}
    ours = made(tmp_path, **key)
    done = ours.backup(tmp_path / "b.tar")
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600 and done["bytes"] > 5000
    if encrypted:
        assert ours.core.parts.store.read([0])["samples"].tobytes() not in (tmp_path / "b.tar").read_bytes()
    shutil.move(tmp_path / "b.tar", tmp_path / "elsewhere.tar")
    with ours, Learner.restore(tmp_path / "elsewhere.tar", tmp_path / "new", **key) as again:
        assert again.life.store.path == tmp_path / "new" / "store"  # not the one it came from, which is in use
        assert again.counters["new"] == ours.counters["new"] > 0 and again.labels == ours.labels
        for learner in (ours, again):
            learner.learn(epochs=2)
            learner.end_task()
        same_bits(again, ours)
        again.observe(*some([4])).wait()
        again.save()
        assert again.life.store.count == ours.life.store.count + 60
    with Learner.open(tmp_path / "new" / "saved", **key) as once_more:
        assert once_more.life.store.path == tmp_path / "new" / "store"


def test_the_command_line_backs_up_and_restores(tmp_path, capsys):
    ours = made(tmp_path)
    ours.save()
    arguments = ["backup", str(tmp_path / "b.tar"), "--saved", str(tmp_path / "p")]
    assert run_command_line(arguments) == 2 and "in use" in capsys.readouterr().err
    ours.close()
    assert run_command_line([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] >= 4
    assert run_command_line(arguments) == 2 and "already" in capsys.readouterr().err
    for status in (0, 2):  # the second time something is there
        assert run_command_line(["restore", str(tmp_path / "b.tar"), "--to", str(tmp_path / "new")]) == status
    with Learner.open(tmp_path / "new" / "saved") as again, Learner.open(tmp_path / "p") as old:
        np.testing.assert_equal(engine_of(again), engine_of(old))


def test_without_a_store_the_state_alone_goes(tmp_path):
    with Learner("mlp", path=tmp_path / "p", **OPTIONS) as ours:
        ours.observe(*some([0, 1]))
        ours.learn()
        ours.backup(tmp_path / "b.tar")
    with Learner.restore(tmp_path / "b.tar", tmp_path / "new") as again:
        assert again.counters["steps"] == 8
    with Learner("mlp", **OPTIONS) as ours, pytest.raises(BadInput, match="path"):
        ours.backup(tmp_path / "c.tar")


def test_what_is_no_whole_backup_is_refused_and_leaves_nothing(tmp_path):
    with made(tmp_path) as ours:
        ours.backup(tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()

    def refused(data: bytes) -> None:
        (tmp_path / "bad.tar").write_bytes(data)
        with pytest.raises(EdgeclError):
            Learner.restore(tmp_path / "bad.tar", tmp_path / "new")
        assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".new*"))

    for cut in (0, 100, 512, len(whole) // 2, whole.rindex(b"manifest.json")):
        refused(whole[:cut])
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    refused(bytes(changed))
    for name, kind in (("../out", tarfile.REGTYPE), ("/tmp/out", tarfile.REGTYPE), ("saved/../../out", tarfile.REGTYPE),
                       ("saved/x", tarfile.SYMTYPE), ("saved/x", tarfile.LNKTYPE), ("saved/x", tarfile.FIFOTYPE),
                       ("saved/x", tarfile.GNUTYPE_LONGNAME), ("saved/x", tarfile.XHDTYPE)):  # fmt: skip
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, "/etc/passwd", 4
            tar.addfile(info, io.BytesIO(b"data"))
        refused(out.getvalue())
    assert not (tmp_path / "out").exists()
