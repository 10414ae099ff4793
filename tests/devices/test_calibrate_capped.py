"""`edgecl devices calibrate` on a board of 512 MB: it ends, and keeps of the board's profile what it cannot measure."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

sys.path.insert(0, str(Path(__file__).parents[1] / "budget"))
from capped import NoController, capped

CAP = 512 << 20


@pytest.mark.campaign
def test_it_completes_in_512_mb_and_its_profile_is_whole(tmp_path):
    from edgecl.devices import load_profile

    environment = {**os.environ, "EDGECL_CACHE": str(tmp_path / "cache")}
    words = ["devices", "calibrate", "--out", str(tmp_path / "here.toml"), "--disk", str(tmp_path)]
    try:
        with capped(CAP) as (group, version):
            enter = f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))} && exec " + '"$@"'
            command = ["sh", "-c", enter, "sh", sys.executable, "-P", "-m", "edgecl", *words]
            done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
            kills = dict(line.split() for line in (group / version.kills).read_text().splitlines())
            peak = int((group / version.peak).read_text()) if (group / version.peak).exists() else 0
    except NoController as why:
        pytest.skip(str(why))
    print(f"status {done.returncode}, {kills['oom_kill']} killed, peak of the group {peak / 1e6:.0f} MB")
    assert (done.returncode, kills["oom_kill"]) == (0, "0"), done.stderr[-2000:]
    with open(tmp_path / "here.toml", "rb") as file:
        assert tomllib.load(file)
    assert load_profile(str(tmp_path / "here.toml")).memory_bytes <= CAP
