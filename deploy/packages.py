"""Packages of wheels: a Debian package, an image for container engines, and the list of what is in them.

    python deploy/packages.py WHEEL.. [--out out/packages]

For each wheel (``make wheels`` makes them): ``edgecl_VERSION_ARCH.deb``, ``edgecl-ARCH.cdx.json`` (an SBOM) and a
tag ARCH of the OCI layout ``image``. No container daemon and no compiler is needed, and nothing of a package is run
to make it, so one for arm64 is made anywhere; its image's Debian is set up by mmdebstrap (root; qemu-user for
another processor). An image for this processor is tried: a learner with a store takes three steps in it. Needs
dpkg-deb, umoci, mmdebstrap, and the Python package cyclonedx-python-lib.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, NamedTuple

EXTRAS = "cli,service,crypto"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
TAG = re.compile(rf"manylinux_2_(\d+)_({'|'.join(ARCHITECTURES)})\.whl$")
SUITE, PYTHON = "bookworm", "3.11"
MAINTAINER = "edgecl <edgecl@localhost>"
HOME = "usr/lib/edgecl"
LAUNCHER = f'#!/bin/sh\nPYTHONPATH=/{HOME} exec /usr/bin/python3 -P -m edgecl "$@"\n'
CONTROL = """Package: edgecl
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {kilobytes}
Depends: python3 (>= 3.11), python3 (<< 3.12), libc6 (>= 2.{glibc}), libstdc++6
Recommends: systemd
Section: science
Priority: optional
Description: continual learning on the device, inside a budget
 Trains a neural network on the device, continually, from a stream of labelled
 samples, inside a fixed budget of RAM, compute, energy and flash. To run it as
 a service: edgecl service install.
"""
USE = """
import numpy as np
from edgecl import Learner
x = np.random.default_rng(0).integers(0, 255, (32, 1, 12, 12), dtype=np.uint8)
with Learner("mlp", input_shape=(1, 12, 12), method="er", memory=16, store="/tmp/store") as learner:
    learner.observe(x, np.arange(32) % 2).wait()
    assert learner.learn(steps=3).steps == 3
"""
IMAGE = [
    "--config.entrypoint", "/usr/bin/edgecl", "--config.cmd", "serve",
    "--config.cmd", "--config", "--config.cmd", "/etc/edgecl.toml",
    "--config.volume", "/var/lib/edgecl", "--config.stopsignal", "SIGTERM",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    parser.add_argument("--out", type=Path, default=Path("out/packages"))
    parser.add_argument("--only", choices=("deb", "sbom", "image"), help="this one alone")
    options = parser.parse_args()
    needed = {"deb": "dpkg-deb", "image": "umoci"}
    missing = [p for kind, p in needed.items() if options.only in (None, kind) and shutil.which(p) is None]
    if missing:
        print(f"{', '.join(missing)} is missing. Install: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for wheel in options.wheels:
        found = TAG.search(wheel.name)
        if found is None or not wheel.is_file():
            print(f"'{wheel}' is no wheel for {' or '.join(ARCHITECTURES)}. Make them: make wheels", file=sys.stderr)
            return 2
        with tempfile.TemporaryDirectory() as place:
            tree = installed(wheel, found[2], int(found[1]), Path(place))
            for kind, make in (("sbom", sbom), ("deb", deb), ("image", image)):
                if options.only in (None, kind):
                    print(f"{kind}: {make(tree, options.out)}")
    return 0


class Tree(NamedTuple):
    """A folder as it lies in ``/``, for Debian's ``architecture`` with glibc 2.``glibc`` or later."""

    root: Path
    architecture: str
    glibc: int


def installed(wheel: Path, machine: str, glibc: int, place: Path) -> Tree:
    """The wheel, what it depends on for ``machine`` with glibc 2.``glibc``, and the command."""
    tree = place / "tree"
    platforms = [w for n in range(17, glibc + 1) for w in ("--platform", f"manylinux_2_{n}_{machine}")]
    run(sys.executable, "-m", "pip", "install", "-q", "--target", tree / HOME, "--only-binary=:all:", "--no-compile",
        "--implementation", "cp", "--python-version", PYTHON, "--platform", f"manylinux2014_{machine}", *platforms,
        f"{wheel}[{EXTRAS}]")  # fmt: skip
    shutil.rmtree(tree / HOME / "bin", ignore_errors=True)  # commands of others
    command = tree / "usr" / "bin" / "edgecl"
    command.parent.mkdir(parents=True)
    command.write_text(LAUNCHER)
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path == command else 0o644)
    return Tree(tree, ARCHITECTURES[machine], glibc)


def packages(tree: Tree) -> list[Distribution]:
    """What lies in the tree, by name."""
    return sorted(distributions(path=[str(tree.root / HOME)]), key=lambda d: d.name.lower())


def deb(tree: Tree, out: Path) -> Path:
    """The tree as a Debian package."""
    version = next(d for d in packages(tree) if d.name == "edgecl").version
    root = tree.root.parent / "deb"
    shutil.copytree(tree.root, root, symlinks=True)
    notice = root / "usr" / "share" / "doc" / "edgecl" / "copyright"
    notice.parent.mkdir(parents=True)
    notice.write_text(copyrights(tree))
    kilobytes = sum(p.stat().st_size for p in root.rglob("*") if p.is_file()) // 1024
    control = root / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(CONTROL.format(
        version=version, architecture=tree.architecture, kilobytes=kilobytes, maintainer=MAINTAINER, glibc=tree.glibc,
    ))  # fmt: skip
    made = out / f"edgecl_{version}_{tree.architecture}.deb"
    run("dpkg-deb", "--build", "--root-owner-group", "-Zxz", root, made, stdout=subprocess.DEVNULL)
    return made


def copyrights(tree: Tree) -> str:
    """Each package's name, version and licence, and where in the tree its text is."""
    lines = ["edgecl and the Python packages that come with it:", ""]
    for found in packages(tree):
        texts = [str(f) for f in found.files or () if "license" in f.name.lower() or "copying" in f.name.lower()]
        lines += [f"{found.name} {found.version}: {licence(found)}", *(f"  /{HOME}/{text}" for text in texts)]
    return "\n".join(lines) + "\n"


def licence(found: Distribution) -> str:
    """As its metadata say it: an expression, a short text, or classifiers."""
    about: Any = found.metadata
    short = (about.get("License") or "").strip()
    named = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    text = short if short and "\n" not in short and len(short) < 80 else ", ".join(named)
    return about.get("License-Expression") or text or "see its text"


def sbom(tree: Tree, out: Path) -> Path:
    """The packages of the tree in CycloneDX 1.6."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    components = {}
    for found in packages(tree):
        kind = ComponentType.APPLICATION if found.name == "edgecl" else ComponentType.LIBRARY
        components[found.name] = Component(
            name=found.name, version=found.version, type=kind, bom_ref=f"{found.name}=={found.version}",
            purl=PackageURL("pypi", name=found.name.lower(), version=found.version),
            licenses=[DisjunctiveLicense(name=licence(found))],
        )  # fmt: skip
    bom = Bom(components=components.values())
    bom.metadata.component = components["edgecl"]
    bom.register_dependency(components["edgecl"], [c for name, c in components.items() if name != "edgecl"])
    made = out / f"edgecl-{tree.architecture}.cdx.json"
    JsonV1Dot6(bom).output_to_file(str(made), allow_overwrite=True, indent=1)
    return made


def image(tree: Tree, out: Path) -> str:
    """A tag of the OCI layout: Debian with Python, and the tree as a second layer."""
    place, architecture = tree.root.parent, tree.architecture
    layout, base, layer = out / "image", place / "base.tar", place / "layer.tar"
    without = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man")]
    run("mmdebstrap", "--quiet", "--variant=minbase", f"--architectures={architecture}", *without,
        "--include=python3,libstdc++6,ca-certificates", SUITE, base)  # fmt: skip
    run("tar", "-C", tree.root, "--owner=0", "--group=0", "--sort=name", "-cf", layer, ".")
    name = f"{layout}:{architecture}"
    if not layout.is_dir():
        run("umoci", "init", "--layout", layout)
    subprocess.run(["umoci", "rm", "--image", name], stderr=subprocess.DEVNULL, check=False)
    run("umoci", "new", "--image", name)
    run("umoci", "config", "--image", name, "--architecture", architecture, "--os", "linux", *IMAGE)
    for archive in (base, layer):
        run("umoci", "raw", "add-layer", "--image", name, archive)
    run("umoci", "gc", "--layout", layout)
    if architecture == ARCHITECTURES.get(platform.machine()):
        check(name, place / "bundle")
    return name


def check(name: str, bundle: Path) -> None:
    """Train in the image ``name``, unpacked, with a /proc of its own."""
    run("umoci", "unpack", "--image", name, bundle, stderr=subprocess.DEVNULL)
    root = bundle / "rootfs"
    (root / "proc").mkdir(exist_ok=True)
    inside = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={root}/proc", "chroot", root]
    run(*inside, "edgecl", "--version")
    run(*inside, "env", f"PYTHONPATH=/{HOME}", "python3", "-P", "-c", USE)


def run(*words: object, **more: Any) -> None:
    subprocess.run([str(w) for w in words], check=True, **more)


if __name__ == "__main__":
    sys.exit(main())
