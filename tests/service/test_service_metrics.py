"""Counters that a Prometheus reads, and files that name no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from daemons import samples

parser = pytest.importorskip("prometheus_client.parser")
DEPLOY = Path(__file__).parents[2] / "deploy"
NOT_OF_A_QUIET_LIFE = {
    "edgecl_energy_joules_total", "edgecl_temperature_celsius", "edgecl_budget_used", "edgecl_budget_limit",
    "edgecl_class_accuracy", "edgecl_flash_years", "edgecl_rejected_total",
}  # fmt: skip


def read(text: str) -> dict[str, list]:
    found: dict[str, list] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def named(text: str) -> set[str]:
    return set(re.findall(r"\bedgecl_[a-z_]+", text))


def test_what_is_counted_is_what_happened(running):
    x, y = samples(12, seed=9)
    with running.client() as client:
        before = read(client.metrics())
        client.predict(x)
        client.observe(x, y)
        client.save()
        after = read(client.metrics())

    def value(found: dict, name: str, **labels: str) -> float:
        return sum(v for have, v in found.get(name, []) if labels.items() <= have.items())

    def grew(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grew("edgecl_predictions_total") == 12
    assert grew("edgecl_observed_total", source="http") == 12
    assert grew("edgecl_requests_total", verb="predict", code="200") == 1
    assert grew("edgecl_predict_seconds_count") == 1
    assert grew("edgecl_store_samples") == 12
    assert grew("edgecl_checkpoints_total", result="good") == 1
    assert value(after, "edgecl_steps_total") == value(after, "edgecl_step_seconds_count") == 60
    assert grew("edgecl_flash_written_bytes_total") >= x.nbytes and grew("edgecl_store_bytes") >= x.nbytes
    assert value(after, "edgecl_build_info", method="er") == 1
    assert value(after, "edgecl_up_seconds") > 0


def test_dashboard_and_alerts_name_what_there_is(running):
    with running.client() as client:
        client.predict(samples(1)[0])
        there = set(read(client.metrics())) | NOT_OF_A_QUIET_LIFE
    dashboard = json.loads((DEPLOY / "grafana" / "edgecl.json").read_text())
    in_panels = named(json.dumps(dashboard))
    in_alerts = named((DEPLOY / "prometheus" / "alerts.yml").read_text())
    assert in_panels <= there
    assert in_alerts <= there
    families = {re.sub("_(bucket|count|sum|created|total)$", "", name) for name in there}
    assert families == {re.sub("_(bucket|count|sum|total)$", "", name) for name in in_panels | in_alerts}
