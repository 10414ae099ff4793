"""What the sample store and the reading of models survive: long campaigns (the tests have a short slice of each).

    python bench/campaigns.py kills|power_cuts|damage|stress|nth_call|placed_kills|forged|models --json FILE
        [--quick] [--rounds N] [--seed N] [--place DIR] [--progress DIR] [--workers N]

kills: SIGKILL of a writing process at random moments. power_cuts: the power of the card it writes to is cut (ext4
shutdown on a loop device; root). Rounds: crashes. damage: cuts and bit flips at every record boundary of the newest
megabyte and in every page of the index, the opening in a child; rounds: every how many-th is tried. stress: writers,
readers, verify and compact at once; rounds: seconds. nth_call: every call of a store's life that touches flash fails,
once or from then on, with EIO and ENOSPC (a preloaded library; needs gcc); placed_kills: SIGKILL before and after each
of them; rounds: one in so many points is tried. forged: every number of every file that is loaded set to what nobody
expects, and 50,000 random changes of bytes; rounds: one in so many. models: `.onnx` and `.edgecl` files with bytes or
fields changed are read, and what is accepted predicts and learns; rounds: files; with compiled modules under
AddressSanitizer by `.ci/sanitize python bench/campaigns.py models ...`. --quick: about a minute. A row says what was
run, what was lost and what was wrong (``failures``).
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path

from common import arguments, write

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS / "storage"), str(TESTS / "interchange")]
HOMES = {"kills": "crash", "power_cuts": "crash", "damage": "damage", "stress": "stress", "nth_call": "nth_call",
         "placed_kills": "nth_call", "forged": "forged", "models": "models"}  # fmt: skip
ROUNDS = {"kills": 2000, "power_cuts": 500, "damage": 1, "stress": 600, "nth_call": 1, "placed_kills": 1,
          "forged": 1, "models": 20_000}  # fmt: skip
QUICK = {"kills": 50, "power_cuts": 20, "damage": 100, "stress": 20, "nth_call": 100, "placed_kills": 100,
         "forged": 60, "models": 2000}  # fmt: skip


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("campaign", choices=HOMES)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", help="folder for the stores (default: a temporary one)")
    parser.add_argument("--progress", type=Path, help="folder that keeps what nth_call or placed_kills has done so far")
    parser.add_argument("--workers", type=int, help="processes of nth_call, placed_kills (default 2): they often wait")
    options = parser.parse_args()
    run = getattr(importlib.import_module(HOMES[options.campaign] + "_campaign"), options.campaign)
    usual = (QUICK if options.quick else ROUNDS)[options.campaign]
    rounds = usual if options.rounds is None else options.rounds
    more = {name: value for name in ("progress", "workers") if (value := getattr(options, name)) is not None}
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        sanitized = ", sanitized" if "libasan" in os.environ.get("LD_PRELOAD", "") else ""
        found = run(Path(place), rounds, options.seed, **more)
        row = {"campaign": options.campaign + sanitized, "seed": options.seed, **found}
    for name, value in row.items():
        print(f"{name}: {value}")
    write("campaigns", [row], options.json, key=("campaign",))
    return 1 if row["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
