"""Over a real broker that comes and goes: each message is stored once, and who listens knows whether we are there."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pytest
from daemons import SHAPE, Daemon, samples, until
from pages import free_port

mqtt = pytest.importorskip("paho.mqtt.client")


class Broker:
    """mosquitto in a folder; it keeps what it has over restarts."""

    def __init__(self, folder):
        self.program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if self.program is None:
            pytest.skip("no mosquitto here")
        self.port = free_port()
        folder.mkdir()
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
            "max_queued_messages 0\nuser root\n"
        )
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program, "-c", self.config], stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class Peer:
    """Another client of the broker: publishes, and keeps what it hears."""

    def __init__(self, port, *topics):
        self.heard, self._lock = [], threading.Lock()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "peer", protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe([(t, 1) for t in topics])
        self.client.on_message = lambda client, data, message: self.heard.append((message.topic, message.payload))
        self.client.connect_async("127.0.0.1", port, clean_start=False)
        self.client.loop_start()
        until(self.client.is_connected)

    def say(self, topic, body, **properties):
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        made = Properties(PacketTypes.PUBLISH)
        if properties:
            made.UserProperty = [(name, str(value)) for name, value in properties.items()]
        return self.client.publish(topic, body, qos=1, properties=made)

    def last(self, topic):
        return next((payload for t, payload in reversed(self.heard) if t == topic), None)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path / "broker")
    yield made
    made.stop()


def listening(tmp_path, broker, more=""):
    daemon = Daemon(tmp_path)
    daemon.sections["mqtt"] = f'host = "127.0.0.1"\nport = {broker.port}\nname = "desk"\nevery = "1s"\n{more}'
    daemon.sections["holdout"] = "share = 0.0\n"
    return daemon.start()


@pytest.mark.parametrize(("messages", "restarts"), [(60, 2), pytest.param(1000, 20, marks=pytest.mark.campaign)])
def test_a_broker_that_restarts_loses_nothing_and_doubles_nothing(tmp_path, broker, messages, restarts):
    daemon = listening(tmp_path, broker)
    peer = Peer(broker.port, "edgecl/desk/availability")
    try:
        until(lambda: peer.last("edgecl/desk/availability") == b"online")
        sent = []
        for k in range(messages):
            x = np.full(SHAPE, k % 251, np.uint8)
            sent.append(peer.say("edgecl/desk/observe", x.tobytes(), id=f"m{k}", label=f"kind {k % 4}"))
            if k % (messages // (restarts + 1)) == messages // (restarts + 2):
                broker.stop()
                peer.heard.clear()
                broker.start()
                until(lambda: peer.last("edgecl/desk/availability") == b"online")
        for info in sent:
            info.wait_for_publish(30)
        for k in range(0, messages, 7):  # sent again, as a peer does that was not told
            peer.say("edgecl/desk/observe", np.zeros(SHAPE, np.uint8).tobytes(), id=f"m{k}", label="kind 0")
        with daemon.client() as client:
            until(lambda: client.counters["stored"] >= messages, 60)
            time.sleep(1.5)
            assert client.counters["stored"] == messages
        peer.heard.clear()
        daemon.kill()
        until(lambda: peer.last("edgecl/desk/availability") == b"offline", 90)
        daemon.start()
        until(lambda: peer.last("edgecl/desk/availability") == b"online")
        with daemon.client() as client:
            assert client.counters["stored"] >= messages
        assert daemon.stop() == 0
        until(lambda: peer.last("edgecl/desk/availability") == b"offline")
    finally:
        peer.close()
        daemon.end()


def test_predictions_labels_commands_and_what_is_refused(tmp_path, broker):
    daemon = listening(tmp_path, broker, "commands = true\n")
    peer = Peer(broker.port, "edgecl/desk/#", "homeassistant/#")
    try:
        x, y = samples(40)
        for row, label in zip(x, y):
            peer.say("edgecl/desk/observe", row.tobytes(), label=label)
        with daemon.client() as client:
            until(lambda: client.counters["stored"] == 40)
            peer.say("edgecl/desk/cmd", "learn")
            until(lambda: client.counters["steps"] > 0)
            client.learn(steps=100)
            peer.say("edgecl/desk/predict", json.dumps({"id": "q1", "samples": x[1].tolist()}))
            until(lambda: peer.last("edgecl/desk/prediction") is not None)
            answer = json.loads(peer.last("edgecl/desk/prediction"))
            assert answer["id"] == "q1" and answer["labels"] == ["kind 1"]
            raw = "application/octet-stream"
            kept = json.loads(client.request("POST", "/v1/predict", x[2].tobytes(), raw, keep=1)[1])
            peer.say("edgecl/desk/labels", json.dumps([{"id": kept["ids"][0], "label": "kind 2"}]))
            until(lambda: client.counters["stored"] == 41)
        peer.say("edgecl/desk/observe", b"neither this nor that", label="x")
        until(lambda: peer.last("edgecl/desk/refused") is not None)
        assert json.loads(peer.last("edgecl/desk/refused"))["status"] == 422
        peer.say("edgecl/desk/observe", b"{ no JSON")
        until(lambda: b"no JSON" in peer.last("edgecl/desk/refused"))
        peer.say("edgecl/desk/labels", b"nothing")
        until(lambda: b"The body is" in peer.last("edgecl/desk/refused"))
        peer.say("edgecl/desk/observe", b"{" * x[0].nbytes, label="kind 0")  # a sample that begins as JSON does
        with daemon.client() as client:
            until(lambda: client.counters["stored"] == 42)
        peer.say("edgecl/desk/cmd", "export")
        until(lambda: b"There is no command" in peer.last("edgecl/desk/refused"))
        until(lambda: json.loads(peer.last("edgecl/desk/status"))["stored"] == 42)
        found = json.loads(peer.last("homeassistant/device/edgecl_desk/config"))
        assert found["cmps"]["steps"]["default_entity_id"] == "sensor.edgecl_desk_steps"
        assert {part["state_topic"] for part in found["cmps"].values()} == {"edgecl/desk/status"}
        peer.heard.clear()
        peer.say("homeassistant/status", "online")
        until(lambda: peer.last("homeassistant/device/edgecl_desk/config") is not None)
        assert daemon.stop() == 0
    finally:
        peer.close()
        daemon.end()
