"""Appends samples and prints an id after its ticket was waited for; ends when it is killed.

python kill_child.py DIR SEED [LIMIT]: groups of random size from two threads, field updates in between.
"""

import sys
import threading

import numpy as np
from edgecl.storage import SampleStore
from store_samples import SCHEMA, logits_of, sample_of


def main() -> None:
    path, seed = sys.argv[1], int(sys.argv[2])
    limit = int(sys.argv[3]) if len(sys.argv) > 3 else None
    store = SampleStore(path, SCHEMA, durability="durable", limit_bytes=limit)
    lock = threading.Lock()

    def work(number: int) -> None:
        rng = np.random.default_rng([seed, number])
        while True:
            n = int(rng.integers(1, 40))
            with lock:  # the content follows from the id, which only the store knows
                ids = store.next_id + np.arange(n)
                ticket = store.append(sample_of(ids), ids % 5, fields={"logits": logits_of(ids)})
            assert ticket.wait()
            sys.stdout.write("".join(f"{i}\n" for i in ticket.ids))
            sys.stdout.flush()
            if rng.random() < 0.05:
                store.update_field("weight", ticket.ids, np.ones((n, 1), np.float32))
            if rng.random() < 0.02:
                store.meta_set({"seen": str(int(ids[-1])).encode()})

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


if __name__ == "__main__":
    main()
