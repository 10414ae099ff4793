"""`edgecl tune` measures, keeps what is faster where plans look for it, and refuses nonsense."""

import json
from pathlib import Path

SMALL = ["--model", "cnn", "--shape", "1,12,12", "--batch", 4, "--steps", 1]


def test_tuning_prints_every_layer_and_keeps_entries_only_when_asked(edgecl, environment):
    table = Path(environment["EDGECL_CACHE"]) / "tuned.json"
    done = edgecl("tune", *SMALL, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "conv2" in done.stdout and "Nothing was kept." in done.stdout and not table.exists()
    found = json.loads(edgecl("tune", *SMALL, "--json").stdout)
    assert {row["node"] for row in found["layers"]} == {"conv1", "conv2", "conv3", "logits"}
    changed = {row["key"]: row["best"] for row in found["layers"] if row["best"] != row["static"]}
    assert (found["kept"] == str(table)) == bool(changed)
    assert (json.loads(table.read_text())["entries"] if changed else {}) == changed
    table.unlink(missing_ok=True)


def test_a_shape_or_network_that_is_none_is_refused(edgecl):
    for arguments in (["--shape", "round"], ["--model", "resnet19"], ["--batch", 0]):
        done = edgecl("tune", *arguments)
        assert done.returncode == 2 and done.stderr.strip(), arguments
