import sys

import numpy as np
import pytest
from edgecl.storage import EpisodicMemory, StreamSchema
from edgecl.storage.errors import BadRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import SCHEMA, logits_of, sample_of


def filled(n, slots=None):
    memory = EpisodicMemory(slots or n, SCHEMA)
    memory.put_many(range(n), sample_of(range(n)), np.arange(n) % 3, range(n), {"logits": logits_of(range(n))})
    return memory


def test_a_drawn_slot_is_occupied_and_drawn_once():
    memory = filled(10, slots=20)
    rng = np.random.default_rng(0)
    for k in (0, 1, 7, 10, 50):
        slots = memory.draw(rng, k)
        assert len(set(slots.tolist())) == len(slots) == min(k, 10) and (slots < 10).all()
    assert len(EpisodicMemory(3, SCHEMA).draw(rng, 2)) == 0


def test_draws_are_uniform():
    memory, rng = filled(12), np.random.default_rng(1)
    counts = np.bincount(np.concatenate([memory.draw(rng, 4) for _ in range(6000)]), minlength=12)
    assert ((counts - 2000) ** 2 / 2000).sum() < 31  # chi-square, 11 degrees of freedom, p = 0.001


def test_put_and_gather_keep_a_sample_together():
    memory = filled(6)
    memory.put(2, sample_of([77])[0], 1, 77, {"weight": [5.0]}, subject=4)
    got = memory.gather([2, 5])
    assert got["ids"].tolist() == [77, 5] and got["classes"].tolist() == [1, 2] and got["subjects"].tolist() == [4, -1]
    assert (got["samples"] == sample_of([77, 5])).all()
    assert got["widths"]["logits"].tolist() == [0, 4] and not got["fields"]["logits"][0].any()
    assert got["widths"]["weight"].tolist() == [1, 0] and got["fields"]["weight"][0, 0] == 5
    got["samples"][:] = 0
    assert (memory.samples[5] == sample_of([5])[0]).all()  # gather copies


def test_a_wider_field_leaves_the_others_as_they_were():
    memory = filled(4)
    memory.update_field([1], "logits", logits_of([9], 10))
    assert memory.widths["logits"].tolist() == [4, 10, 4, 4]
    assert (memory.fields["logits"][[0, 2, 3], :4] == logits_of([0, 2, 3])).all()
    assert not memory.fields["logits"][[0, 2, 3], 4:].any()
    with pytest.raises(BadRecord, match="width 13"):
        memory.update_field([1], "logits", np.zeros((1, 13)))


def test_every_change_of_a_slot_changes_its_version():
    memory = filled(4)
    seen = {memory.versions.tolist()[0]}
    memory.put(0, sample_of([1])[0], 0)
    seen.add(int(memory.versions[0]))
    memory.clear([0])
    seen.add(int(memory.versions[0]))
    memory.resize(3, np.random.default_rng(0))
    seen.add(int(memory.versions[0]))
    assert len(seen) == 4


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 40))
def test_resizing_keeps_a_uniform_choice(n, slots, new):
    n = min(n, slots)
    memory = filled(n, slots)
    memory.resize(new, np.random.default_rng(0))
    assert memory.slots == new and memory.filled == min(n, new)
    kept = np.flatnonzero(memory.classes >= 0)
    assert (memory.samples[kept] == sample_of(memory.ids[kept])).all()
    assert (memory.fields["logits"][kept] == logits_of(memory.ids[kept])).all()
    assert (np.diff(memory.ids[kept]) > 0).all()


def test_a_saved_memory_is_the_same_memory():
    memory = filled(7, 9)
    memory.offered = 31
    other = EpisodicMemory(9, SCHEMA)
    state = memory.state()
    memory.put(0, sample_of([50])[0], 2)
    other.load(state)
    assert other.offered == 31 and other.class_histogram() == {0: 3, 1: 2, 2: 2}
    assert all((a == state[k]).all() for k, a in other.state().items())
    bad = {**state, "samples": state["samples"][:, :, :3]}
    with pytest.raises(BadRecord, match="samples"):
        other.load(bad)


def test_samples_that_do_not_fit_are_refused():
    memory = EpisodicMemory(3, SCHEMA)
    for samples, classes in (
        (np.zeros((1, 2, 2), np.uint8), [0]),
        (np.zeros((1, 1, 6, 6)), [0]),
        (sample_of([0]), [-1]),
    ):
        with pytest.raises(BadRecord):
            memory.put_many([0], samples, classes)
    assert memory.filled == 0
    with pytest.raises(BadRecord):
        EpisodicMemory(0, SCHEMA)


def test_bytes_are_those_of_the_arrays():
    memory = EpisodicMemory(10, SCHEMA)
    assert memory.bytes == 10 * (36 + 4 + 8 + 4 + 8 + 8 + 4 + 4)
    memory.grow_field("logits", 10)
    assert memory.bytes == 10 * (36 + 4 + 8 + 4 + 8 + 8 + 4 + 4 + 20)


def _interrupted(work, n: int) -> bool:
    """Do ``work``, stopped by an exception before the ``n``-th line that it runs below ``storage``; whether it was."""
    left = n

    def at_line(frame, event, _):
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return at_line

    def at_call(frame, event, _):
        return at_line if frame.f_code.co_filename.endswith(("memory.py", "places.py")) else None

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        work()
        return False
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)


LABELS = np.array([7, 8, 9, 3], np.uint8)
CHANGES = {
    "put_many": lambda m: m.put_many([1, 4, 6, 1], np.repeat(LABELS[:, None], 2, axis=1), LABELS, LABELS),
    "clear": lambda m: m.clear([0, 2, 5]),
    "relabel": lambda m: m.relabel([0, 1, 2], [4, -1, 4]),
    "fewer": lambda m: m.resize(3, np.random.default_rng(0)),
    "more": lambda m: m.resize(12, np.random.default_rng(0)),
    "load": lambda m: m.load(m.state()),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_an_interrupt_before_any_line_leaves_whole_slots_that_are_counted_right(change):
    n, stopped = 0, True
    while stopped:
        memory = EpisodicMemory(8, StreamSchema((2,), "uint8"))
        first = np.array([0, 1, 2, 0, 1], np.uint8)
        memory.put_many(np.arange(5), np.repeat(first[:, None], 2, axis=1), first, first)
        stopped = _interrupted(lambda: CHANGES[change](memory), n)  # noqa: B023 - called at once
        held = memory.classes[memory.classes >= 0]
        assert memory.class_histogram() == {int(c): int((held == c).sum()) for c in np.unique(held)}
        assert memory.filled == len(held) and len(memory.samples) == memory.slots
        if change != "relabel":
            assert (memory.samples[memory.classes >= 0] == held[:, None]).all()
        memory.put(0, np.full(2, 5, np.uint8), 5)
        assert memory.places.oldest(5) == 0 and set(memory.draw(np.random.default_rng(1), 20)) == set(
            np.flatnonzero(memory.classes >= 0)
        )
        n += 1
    assert n > 5
