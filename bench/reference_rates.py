"""The shipped rates of our kernels (device_profiles/reference_rates.json) from a calibration of this machine.

Every profile of a device that nobody has calibrated takes these rates, scaled by what a simulator says of its core's
inner loops against the best that these rates reach (`bench/neon_cycles.py`, `edgecl.devices.schema`).

    edgecl devices calibrate --out my.toml
    python bench/reference_rates.py my.toml --machine "2 cores of an AMD EPYC (Zen 5, AVX-512), November 2026"

--check: fails where the file is not what the calibration gives.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edgecl.devices import Profile, load_profile
from edgecl.devices.calibrate import figure

TARGET = Path(__file__).resolve().parents[1] / "device_profiles" / "reference_rates.json"
# figure of the machine that a simulated loop is set against -> the class whose best efficiency it is
LOOPS = {"forward_loop": ("conv", "forward"), "weight_loop": ("conv", "weight")}


def reference(profile: Profile, machine: str) -> dict[str, Any]:
    """The file's content. Raises SystemExit for a profile whose rates were not measured."""
    if any(rates.mark != "measured" for rates in profile.kernels.values()):
        sys.exit(f"the rates of '{profile.name}' were not measured\n  try: edgecl devices calibrate --out my.toml")
    source = f"edgecl devices calibrate on {machine}"
    found: dict[str, Any] = {}
    for name, key in LOOPS.items():
        best = max(v for row in profile.kernels[key].efficiency for v in row)
        found[name] = figure(best, "measured", f"highest efficiency of the convolution rates, {source}")
    found["rates"] = [
        {
            "kind": kind, "phase": phase, "efficiency": [list(row) for row in rates.efficiency],
            "traffic": rates.traffic, "start": list(rates.start), "mark": rates.mark, "source": source,
        }
        for (kind, phase), rates in profile.kernels.items()
    ]  # fmt: skip
    return found


def to_text(data: dict[str, Any]) -> str:
    """JSON with a row of efficiencies a line."""
    text = json.dumps(data, indent=1)
    for row in {json.dumps(r) for rates in data["rates"] for r in (*rates["efficiency"], rates["start"])}:
        values = json.loads(row)
        for depth in (3, 4):
            spread = "[\n" + ",\n".join(" " * (depth + 1) + json.dumps(v) for v in values) + "\n" + " " * depth + "]"
            text = text.replace(spread, row)
    return text + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("profile", help="TOML of `edgecl devices calibrate --out`, or host")
    parser.add_argument("--machine", required=True, help="what was calibrated, and when: goes into every source")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args()
    text = to_text(reference(load_profile(options.profile), options.machine))
    if options.check:
        same = json.loads(text) == json.loads(TARGET.read_text())
        print(f"{TARGET.name}: {'the same' if same else 'differs'}")
        return 0 if same else 1
    TARGET.write_text(text)
    print(f"wrote {TARGET}; renew docs/devices.md with: edgecl devices table --out docs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
