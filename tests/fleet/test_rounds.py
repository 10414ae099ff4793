"""Rounds close with whoever answered; what travels down is what the server holds; patterns move together."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import answer, random_model, server

from edgecl import checkpoint
from edgecl.fleet.codec import decode, peek
from edgecl.fleet.model import on_pattern
from edgecl.fleet.refusals import BadUpdate
from edgecl.fleet.rounds import Known, Rounds, Rules

LABELS = (0, "cat")


def test_a_round_without_replies_leaves_the_model_as_it_was():
    rounds = server(least=2)
    before = rounds.model.digest
    assert rounds.close()["void"] and rounds.model.digest == before
    rounds.take(answer(rounds))
    assert rounds.close() == {"round": 2, "replies": 1, "samples": 10, "void": True, "pattern_moved": False}
    assert rounds.model.digest == before and rounds.round == 3


def test_late_updates_and_second_ones_are_refused():
    rounds = server()
    old, mine = answer(rounds, "b"), answer(rounds, "a")
    rounds.take(mine)
    with pytest.raises(BadUpdate) as twice:
        rounds.take(mine)
    rounds.close()
    with pytest.raises(BadUpdate) as late:
        rounds.take(old)
    assert (twice.value.name, late.value.name) == ("twice", "late")
    assert rounds.refused["twice"] == rounds.refused["late"] == 1


@pytest.mark.parametrize("form", ["f32", "f16", "int8"])
def test_a_device_that_follows_holds_the_servers_bits_round_after_round(form):
    rng = np.random.default_rng(2)
    rounds, model, sizes = server(form=form, every=3, share=0.2), None, []
    for _ in range(8):
        base, pattern = ("", "") if model is None else (model.digest, model.pattern_digest)
        message = rounds.message(Known("a", LABELS, base, pattern))
        sizes.append((peek(message).form, peek(message).patterns > 0))
        model = decode(message, rounds.model.schema, model).model
        assert model.digest == rounds.model.with_labels(LABELS).digest
        rounds.take(answer(rounds, "b", rng, form))
        rounds.close()
    moved = [False, False, True, False, False, True, False]  # after rounds 3 and 6
    assert sizes == [("f32", True), *((form, m) for m in moved)]


def test_the_pattern_moves_for_all_at_once_and_its_size_stays():
    rounds = server(every=2, share=0.25)
    first, living = rounds.model.patterns, rounds.model.living
    for _ in range(2):
        rounds.take(answer(rounds))
        rounds.close()
    assert rounds.model.living == living
    for name, old in first.items():
        new = rounds.model.patterns[name]
        come = np.setdiff1d(new, old)
        assert come.size == round(0.25 * old.size) > 0
        assert not on_pattern(rounds.model.values[name], new, come.astype(np.int32)).any()


def test_a_union_is_cut_to_each_devices_room():
    rng = np.random.default_rng(3)
    rounds = Rounds(random_model(rng, labels=LABELS, density=0.3), Rules(mode="union", form="f16"))
    budget = {"conv": 20, "deep": 9}
    rounds.take(answer(rounds, "a", budget=budget))
    rounds.close()
    found = decode(rounds.message(Known("a", LABELS, budget=budget)), rounds.model.schema).model
    assert found.living == budget
    for name in budget:
        kept = np.abs(found.values[name]).min()
        left = np.setdiff1d(rounds.model.patterns[name], found.patterns[name]).astype(np.int32)
        assert np.abs(on_pattern(rounds.model.values[name], rounds.model.patterns[name], left)).max() <= kept


def test_a_device_gets_rows_of_its_labels_only():
    rounds = server()
    found = decode(rounds.message(Known("a", ("cat", "unknown"))), rounds.model.schema).model
    assert found.labels == ("cat",)


def test_a_server_that_was_killed_goes_on_from_its_saved_state(tmp_path):
    one, other = server(form="f16"), server(form="f16")
    for _ in range(3):
        for rounds in (one, other):
            rounds.take(answer(rounds))
            rounds.close()
        checkpoint.write(tmp_path / "server.safetensors", other.state())
        other = Rounds.from_state(checkpoint.read(tmp_path / "server.safetensors"))
    assert other.model.digest == one.model.digest and other.round == one.round == 4
    known = Known("a", LABELS, one.model.digest, one.model.pattern_digest)
    assert other.message(known) == one.message(known)
