"""A run in a process of its own: the growth of memory that it planned, beside what it took."""

import json
import subprocess

from edgecl.child import python_command


def assert_planned(options, folder, timeout=300):
    """Within 5 % and 1 MB."""
    job = {"options": options, "resume": None, "json": True, "command": "test"}
    command = python_command("edgecl.commands.train", json.dumps(job))
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True, timeout=timeout)
    memory = json.loads(done.stdout)["memory"]
    planned = memory["planned_peak_rss_bytes"] - memory["baseline_bytes"]
    measured = memory["measured_peak_rss_bytes"] - memory["baseline_bytes"]
    assert abs(measured - planned) <= 0.05 * planned + 1e6, (planned, measured)
