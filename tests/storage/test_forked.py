"""In a forked child every verb of a store returns or says so at once; the parent and its files notice nothing."""

import os
import signal

import numpy as np
import pytest
from edgecl.storage import Carousel, EpisodicMemory, ReadAhead, SampleStore, export_store
from edgecl.storage.errors import UseAfterFork
from store_samples import SCHEMA, logits_of, sample_of

VERBS = {
    "append": lambda s: s.append(sample_of([99]), 0),
    "read": lambda s: s.read([0]),
    "flush": lambda s: s.flush(),
    "update_field": lambda s: s.update_field("logits", [0], logits_of([0])),
    "meta_set": lambda s: s.meta_set({"a": b"c"}),
    "meta_get": lambda s: s.meta_get("a"),
    "set_mark": lambda s: s.set_mark("a", 1),
    "mark": lambda s: s.mark,
    "state": lambda s: s.state(),
    "forget": lambda s: s.forget(0),
    "forgotten": lambda s: s.forgotten(),
    "relabel": lambda s: s.relabel([0], 1),
    "remove": lambda s: s.remove([0]),
    "compact": lambda s: s.compact(),
    "verify": lambda s: s.verify(),
    "stats": lambda s: s.stats(),
    "count": lambda s: s.count,
    "next_id": lambda s: s.next_id,
    "classes": lambda s: s.classes(),
    "kth": lambda s: s.kth(0, 0),
    "ids_of_class": lambda s: s.ids_of_class(0),
    "ids_of_subject": lambda s: s.ids_of_subject(0),
    "newest": lambda s: s.newest(3),
    "export": lambda s: export_store(s, s.path.parent / "export"),
    "load": lambda s: s.load({}),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_in_a_fork_says_so_while_threads_of_the_parent_hold_every_lock(tmp_path, verb):
    store = SampleStore(tmp_path / "s", SCHEMA, durability="batched:60000")
    ids = np.arange(50)
    ticket = store.append(sample_of(ids), ids % 2, ids % 3)
    memory = EpisodicMemory(4, SCHEMA)
    carousel, ahead = Carousel(store, memory), ReadAhead(store)
    before = {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()}
    with store._lock, store._flusher.lock, store._flusher._changed:
        pid = os.fork()
        if pid == 0:
            signal.alarm(5)
            status = 3
            try:
                try:
                    VERBS[verb](store)
                    status = 2
                except UseAfterFork:
                    status = 0
                for wait in (ticket.wait, lambda: carousel.begin_step(0), lambda: ahead.expect([0], [0])):
                    try:
                        wait()
                        status = 4
                    except UseAfterFork:
                        pass
                carousel.close()
                ahead.close()
                store.close()
            finally:
                os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()} == before
    assert ticket.wait(10) and store.read(ids)["ok"].all()
    carousel.close()
    ahead.close()
    store.close()
