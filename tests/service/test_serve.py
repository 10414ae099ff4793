"""What a client of the daemon gets: a learner behind a socket."""

from __future__ import annotations

import io
import json
import struct
import threading

import numpy as np
import pytest
from daemons import SHAPE, samples, until

from edgecl.errors import BadInput
from edgecl.learner import Learner
from edgecl.service import Client
from edgecl.service.client import events
from edgecl.service.wire import ServiceError


def test_the_client_is_a_learner_in_another_process(daemon, tmp_path):
    x, y = samples(24)
    with daemon.start().client() as client, Learner("mlp", input_shape=SHAPE, batch=8, memory=40, classes=4,
                                                    store=str(tmp_path / "own")) as own:  # fmt: skip
        with pytest.raises(BadInput, match="Nothing has been learned"):
            client.predict(x[0])
        for held in (client, own):
            ticket = held.observe(x, y)
            assert ticket.wait()
            assert ticket.ids.tolist() == list(range(24))
            held.learn(steps=30)
        assert client.predict(x) == own.predict(x)
        assert client.predict(x[0]) == own.predict(x[0])
        assert np.array_equal(client.predict(x, proba=True), own.predict(x, proba=True))
        assert client.labels == own.labels
        assert client.counters["steps"] == own.counters["steps"] == 30
        with pytest.raises(BadInput, match="labels"):
            client.observe(x, y[:-1])
        assert client.end_task() is None
        client.save()
    assert daemon.stop() == 0


def test_another_life_knows_what_the_last_one_did(daemon):
    x, y = samples(24)
    with daemon.start().client() as client:
        client.observe(x, y, subject=3).wait()
        client.learn(steps=20)
        before = client.predict(x, proba=True)
    assert daemon.stop() == 0
    with daemon.start().client() as client:
        assert client.status()["model"]["steps"] == 20
        assert np.array_equal(client.predict(x, proba=True), before)
        receipt = client.forget(3)
        assert len(receipt["ids"]) == 24
        kinds = [d["kind"] for d in client.decisions()]
        assert "forget" in kinds
        assert kinds.count("slice") == 1


def test_every_form_of_body_gives_the_same_answer(running):
    x, _ = samples(6, seed=1)
    npy = io.BytesIO()
    np.save(npy, x)
    about = json.dumps({"shape": list(x.shape), "dtype": "uint8"}).encode()
    forms = {
        "application/octet-stream": x.tobytes(),
        "application/x-npy": npy.getvalue(),
        "application/x-edgecl": struct.pack("<I", len(about)) + about + x.tobytes(),
        "application/json": json.dumps({"samples": x.tolist()}).encode(),
    }
    with running.client(admin=False) as client:
        wanted = client.predict(x)
        for kind, body in forms.items():
            status, answer, _ = client.request("POST", "/v1/predict", body, kind)
            assert (status, json.loads(answer)["labels"]) == (200, wanted), kind


def test_a_picture_is_brought_to_the_learners_shape(running):
    image = pytest.importorskip("PIL.Image")
    x, _ = samples(4, seed=2)
    with running.client(admin=False) as client:
        for i in range(4):
            out = io.BytesIO()
            image.fromarray(x[i, 0]).resize((36, 36), 0).save(out, "PNG")
            status, answer, _ = client.request("POST", "/v1/predict", out.getvalue(), "image/png")
            assert (status, json.loads(answer)["labels"]) == (200, [client.predict(x[i])])


def test_many_clients_at_once_are_answered_together(running):
    x, _ = samples(64, seed=3)
    with running.client() as client:
        wanted = client.predict(x)
    got: dict[int, list] = {}

    def ask(k: int) -> None:
        with running.client(admin=False) as client:
            got[k] = [client.predict(x[i]) for i in range(k, 64, 8)]

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == {k: wanted[k::8] for k in range(8)}


def test_samples_that_are_kept_take_their_label_later_and_once(daemon):
    x, y = samples(8)
    with daemon.start().client() as client:
        client.observe(x, y).wait()
        client.learn(steps=10)
        stored = client.counters["stored"]
        kept = client.predict_kept(x)["ids"]
        assert [row["id"] for row in client.pool()] == kept[::-1]
        margins = [row["margin"] for row in client.pool(by="margin")]
        assert margins == sorted(margins)
        assert client.picture(kept[0])[:8] == b"\x89PNG\r\n\x1a\n"
        assert [row["status"] for row in client.label({kept[0]: "kind 0", kept[1]: "new"})] == [202, 202]
        assert client.label({kept[0]: "kind 0"})[0]["status"] == 409
        assert client.label({"00000000-7": "kind 0"})[0]["status"] == 410
        assert client.counters["stored"] == stored + 2
        assert client.labels[-1] == "new"
        assert client.flush()
    daemon.stop()
    with daemon.start().client() as client:
        assert client.counters["stored"] == stored + 2
        assert client.label({kept[2]: "kind 0"})[0]["status"] == 410


def test_an_unsure_answer_is_null_and_the_sample_waits(daemon):
    daemon.sections["serve"] = "unsure_below = 1.0\n"
    x, y = samples(8)
    with daemon.start().client() as client:
        client.observe(x, y)
        client.learn(steps=2)
        answer = client.predict_kept(x[0])
        assert answer["labels"] == [None]
        assert answer["confidence"][0] < 1
        assert answer["ids"] == [client.pool()[0]["id"]]


def test_a_request_that_is_sent_twice_is_done_once(running):
    x, _ = samples(4)
    with running.client() as client:
        stored, found = client.counters["stored"], []
        for _ in range(2):
            client._connection.connect()
            client._connection.request("POST", "/v1/observe?label=kind+0", x.tobytes(), {
                "Content-Type": "application/octet-stream", "Idempotency-Key": "one"})  # fmt: skip
            answer = client._connection.getresponse()
            found.append((answer.status, json.loads(answer.read())["ids"]))
        assert found == [(202, list(range(stored, stored + 4)))] * 2
        assert client.counters["stored"] == stored + 4


def test_learning_of_its_own_accord_makes_room_for_a_verb(daemon):
    daemon.sections["learn"] = 'when = "samples:8"\nslice = "60s"\n'
    x, y = samples(16)
    with daemon.start().client(timeout=20) as client:
        client.observe(x, y)
        until(lambda: client.status()["model"]["steps"] >= 3)
        client.save()  # would last a minute
        found = [d for d in client.decisions() if d["kind"] == "slice"]
        assert "stop()" in found[0]["stopped"]


def test_who_listens_hears_what_is_decided(running):
    heard = []
    with running.client() as client, running.client() as other:
        stream = events(other)
        listener = threading.Thread(target=lambda: heard.append(next(stream)))
        listener.start()
        while listener.is_alive():
            client.verb("pause")
            client.verb("resume")
        assert heard[0][0] == "decision"
        assert heard[0][1]["kind"] in ("paused", "resumed")
        stream.close()


def test_the_model_and_the_samples_are_taken_away(running, tmp_path):
    from edgecl.network import Network

    with running.client() as client:
        (tmp_path / "model.edgecl").write_bytes(client.export())
        network = Network.load(tmp_path / "model.edgecl")
        assert network.graph.input_shape == SHAPE
        assert set(network.weights) == set(network.graph.parameters)
        (tmp_path / "samples.tar").write_bytes(client.export("samples"))
    import tarfile

    with tarfile.open(tmp_path / "samples.tar") as archive:
        assert any(name.endswith(".safetensors") for name in archive.getnames())


def test_a_daemon_does_not_take_the_socket_of_another(running, daemon):
    daemon.arguments = ["--run", str(running.folder / "run")]
    daemon.launch()
    assert daemon.process.wait(30) == 2
    assert "Another daemon answers" in daemon.text


def test_nobody_there_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(Exception, match="does not answer"):
        Client(f"unix:{tmp_path}/no.sock").status()


def test_the_use_socket_refuses_what_the_admin_socket_does(running):
    with running.client(admin=False) as client, pytest.raises(ServiceError) as refused:
        client.forget(1)
    assert refused.value.status == 403
