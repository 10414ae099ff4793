"""What Home Assistant is told of the device: one message, so that its sensors appear by themselves."""

from __future__ import annotations

import json
import re

from .. import __version__

SENSORS = {  # name: (title, template of its value, unit, kind)
    "accuracy": ("Accuracy", "{{ (100 * (value_json.accuracy or 0)) | round(1) }}", "%", None),
    "steps": ("Steps", "{{ value_json.steps }}", None, None),
    "stored": ("Samples stored", "{{ value_json.stored }}", None, None),
    "waiting": ("Samples that wait for a label", "{{ value_json.waiting }}", None, None),
    "flash_years": ("Flash left", "{{ value_json.flash_years }}", "y", "duration"),
}


def announcement(name: str, topic: str) -> tuple[str, str]:
    """(topic, payload) of the device ``name``, whose states are said below ``topic``."""
    plain = re.sub(r"[^a-zA-Z0-9_]", "_", name).lower()
    parts = {}
    for sensor, (title, template, unit, kind) in SENSORS.items():
        part = {
            "p": "sensor", "name": title, "unique_id": f"edgecl_{plain}_{sensor}", "value_template": template,
            "default_entity_id": f"sensor.edgecl_{plain}_{sensor}", "state_topic": f"{topic}/status",
        }  # fmt: skip
        if unit is not None:
            part["unit_of_measurement"] = unit
        if kind is not None:
            part["device_class"] = kind
        parts[sensor] = part
    about = {
        "dev": {"ids": [f"edgecl_{plain}"], "name": f"edgecl {name}", "mf": "edgecl", "sw": __version__},
        "o": {"name": "edgecl", "sw": __version__},
        "cmps": parts, "availability_topic": f"{topic}/availability", "qos": 1,
    }  # fmt: skip
    return f"homeassistant/device/edgecl_{plain}/config", json.dumps(about)
