"""Real daemons in a fleet: a model that came serves only when it passed the gate; the device decides."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("starlette")
from daemons import Daemon, samples, until

from edgecl.fleet.codec import About, encode
from edgecl.fleet.model import FleetModel
from edgecl.fleet.rounds import Known, Rounds, Rules
from edgecl.fleet.simulated import first_model
from edgecl.service.wire import ServiceError

LEARNER = {"network": "mlp", "batch": 8, "memory": 40, "classes": 4}


class Way:
    options, bn = LEARNER, "local"


@pytest.fixture
def daemons(tmp_path):
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        daemon = Daemon(folder)
        daemon.sections["fleet"] = f'join = true\nname = "{name}"\non_battery = true\n'
        made.append(daemon.start())
    yield made
    for daemon in made:
        daemon.end()


def rounds_of(**rules):
    return Rounds(first_model(Way, (1, 12, 12), "uint8", 0), Rules(**rules))


def known(client):
    found = client.fleet()
    assert found["refused"] is None, found
    return Known(found["device"], tuple(found["labels"]), found["base"], found["pattern"], found["budget"])


def test_three_rounds_of_two_daemons(daemons):
    rounds = rounds_of(form="f16", least=2)
    test, truth = samples(80, seed=50)
    clients = [d.client() for d in daemons]
    for k, client in enumerate(clients):
        x, y = samples(240, seed=k)
        mine = np.array([(int(label[-1]) < 3) == (k == 0) or int(label[-1]) in (0, 3) for label in y])
        client.observe(x[mine], [label for label, m in zip(y, mine) if m]).wait()
    for _ in range(3):
        for client in clients:
            update, found = client.fleet_round(rounds.message(known(client)), 40)
            assert found["steps"] == 40 and found["gate"] in ("passed", "kept")
            rounds.take(update)
        assert rounds.close()["replies"] == 2
    assert set(rounds.model.labels) == {f"kind {k}" for k in range(4)}
    for client in clients:
        kept = [d for d in client.decisions() if d["kind"] == "fleet round"]
        assert [d["round"] for d in kept] == [1, 2, 3]
        receipt = client.forget(7)
        assert receipt["fleet_rounds"] == [1, 2, 3]
        known_labels = set(client.labels)
        right = np.mean([a == b for a, b in zip(client.predict(test), truth) if b in known_labels])
        assert right > 0.9
        client.close()


def test_a_bad_model_never_serves(daemons):
    """While a ruined model is learned on, and after it failed the gate, answers are those of before."""
    rounds = rounds_of(form="f32")
    with daemons[0].client() as client, daemons[0].client() as asking:
        x, y = samples(1000, seed=1)
        client.observe(x, y).wait()
        client.learn(steps=150)
        test, _ = samples(64, seed=9)
        before = client.predict(test, proba=True)
        assert np.mean(np.argmax(before, 1) == np.argmax(client.predict(test, proba=True), 1)) == 1
        ruined = {n: (1e3 * np.random.default_rng(0).normal(size=v.size)).astype(np.float32)
                  for n, v in rounds.model.values.items()}  # fmt: skip
        model = FleetModel(rounds.model.schema, (), ruined, rounds.model.patterns)
        done = threading.Event()
        answers = []

        def ask():
            while not done.is_set():
                answers.append(asking.predict(test, proba=True))

        thread = threading.Thread(target=ask)
        thread.start()
        _, found = client.fleet_round(encode(model, About("model", "server", 1)), 3)
        done.set()
        thread.join()
        assert found["gate"] == "kept" and found["held_out"]["after"] < found["held_out"]["before"]
        assert len(answers) > 2
        for answer in [*answers, client.predict(test, proba=True)]:
            assert np.abs(answer - before).max() < 1e-6  # rounding: it is predicted in other batches


def test_the_device_decides(tmp_path):
    daemon = Daemon(tmp_path)
    daemon.sections["fleet"] = 'join = true\nname = "a"\non_battery = true\nbytes_per_day = "400kB"\n'
    daemon.start()
    try:
        rounds = rounds_of()
        with daemon.client() as client:
            assert client.fleet()["refused"] == "few samples"
            client.observe(*samples(80)).wait()
            message = rounds.message(known(client))
            client.verb("pause")
            with pytest.raises(ServiceError, match="paused"):
                client.fleet_round(message, 5)
            client.verb("resume")
            client.fleet_round(message, 5)
            rounds.close()
            assert client.fleet()["refused"] is None or client.fleet()["refused"] == "bytes a day"
            with pytest.raises(ServiceError, match="bytes a day"):
                for _ in range(20):
                    client.fleet_round(rounds.message(Known("a")), 5)
            steps = client.status()["model"]["steps"]
            for bad in (b"", b"nonsense", message[:-1], b"edgecl-update 1\n" + bytes(100)):
                with pytest.raises(ServiceError):
                    client.fleet_round(bad, 5)
            assert client.status()["model"]["steps"] == steps
        daemon.stop()
        daemon.start()
        with daemon.client() as client:  # a restart renews nothing
            assert client.fleet()["refused"] == "bytes a day" and client.fleet()["device"] == "a"
    finally:
        daemon.end()


def test_a_daemon_killed_in_a_round_serves_again_and_takes_part(daemons):
    daemon, rounds = daemons[0], rounds_of(form="f16")
    with daemon.client() as client:
        x, y = samples(400, seed=1)
        client.observe(x, y).wait()
        client.fleet_round(rounds.message(known(client)), 20)
        client.save()
        rounds.close()
        body = rounds.message(known(client))
        client.request("POST", "/v1/fleet/begin", body, "application/octet-stream", steps=200)
    time.sleep(0.2)
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        until(lambda: client.fleet()["refused"] is None)
        update, found = client.fleet_round(rounds.message(known(client)), 10)
        assert rounds.take(update).device == "one" and found["round"] == 2
