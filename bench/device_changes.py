"""The table of docs/devices.md before and after a change of the cost model, side by side.

    git show REVISION:docs/devices.json > before.json
    python bench/device_changes.py before.json --json bench/results/device_changes.json
"""

from __future__ import annotations

import json
from pathlib import Path

from common import arguments, write

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "device_changes.md"
COLUMNS = ("task", "device", "edgecl ms/image, old", "new", "PyTorch ms/image, old", "new", "ratio, old", "new",
           "threads of edgecl, old", "new")  # fmt: skip
HEAD = f"""# Predictions for boards: old against new

Written by `python bench/device_changes.py`; both columns are modelled, nothing was measured on these boards. Old:
threads were assumed to share 0.9 (0.7) of their rates, map passes followed x86 rates alone, and one constant moved the
maps of convolutions forward and backward. New: each operation moves its maps and weights once over the bandwidth of the
board at least, threads gain what a large matrix product gains there, on both sides of the ratio; PyTorch pays for
blocks above 32 MiB, which are mapped anew each time, and not for the unfolding that its later releases have given up;
depthwise 3 x 3 forwards at stride 1 do not run channel by channel, and a backward pass does so once.

| {" | ".join(COLUMNS)} |
{"|---" * len(COLUMNS)}|
"""


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("before", help="devices.json of another revision")
    given = parser.parse_args()
    old = {(r["task"], r["device"]): r for r in json.loads(Path(given.before).read_text())["rows"]}
    rows, lines = [], []
    for new in json.loads((ROOT / "docs" / "devices.json").read_text())["rows"]:
        was = old.get((new["task"], new["device"]))
        if was is None:
            continue
        row = {"task": new["task"], "device": new["device"]}
        for when, r in (("old", was), ("new", new)):
            ours, theirs = r["edgecl_seconds_per_image"], r["torch_seconds_per_image"]
            row |= {f"edgecl_ms_{when}": ours * 1e3, f"torch_ms_{when}": theirs * 1e3, f"ratio_{when}": theirs / ours,
                    f"threads_{when}": r["edgecl_threads"]}  # fmt: skip
        rows.append(row)
        figures = [f"{row[f'{k}_{w}']:.3g}" for k in ("edgecl_ms", "torch_ms") for w in ("old", "new")]
        figures += [f"{row[f'ratio_{w}']:.1f}x" for w in ("old", "new")]
        figures += [str(row[f"threads_{w}"]) for w in ("old", "new")]
        lines.append(f"| {row['task']} | {row['device']} | " + " | ".join(figures) + " |\n")
    TARGET.write_text(HEAD + "".join(lines))
    write("device_changes", rows, given.json)
    print(f"wrote {TARGET}: {len(rows)} rows")


if __name__ == "__main__":
    main()
