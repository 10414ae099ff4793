import sys
from pathlib import Path

tests = next(p for p in map(Path, sys.path) if p.name == "docs").parent
sys.path.insert(0, str(tests / "service"))
from daemons import Daemon, samples  # noqa: E402

REPLACE = {"/run/edgecl": f"{Path.cwd()}/daemon/run", "/var/lib/edgecl": f"{Path.cwd()}/state"}
Path("daemon").mkdir()
_daemon = Daemon(Path.cwd() / "daemon").start()
images, labels = samples(16)
image = images[0]


def close():
    client.close()  # noqa: F821  (the page's)
    _daemon.stop()
