"""What the checks of alerts and dashboard do without a fleet: rules in shorter time, and a picture of whatever was found."""

import re
from xml.etree import ElementTree

import yaml

from benchmarks.alerts.faults import FAULTS, UNPROVED
from benchmarks.alerts.rules import shortened
from benchmarks.dashboard.panels import Answer, panels
from benchmarks.dashboard.picture import picture
from benchmarks.prometheus import Series
from ragfleet.paths import PROJECT

RULES = (PROJECT / "docker/prometheus/alerts.yml").read_text("utf-8")
HOSTILE = '<script>&"{{'
BEGIN, END = 1_800_000_000.0, 1_800_000_300.0


def _rules(text: str) -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_rules_are_the_same_in_shorter_time() -> None:
    short = _rules(shortened(RULES))
    assert [each.keys() for each in short] == [each.keys() for each in _rules(RULES)]
    durations = re.findall(r"(?:\[|for: )(\d+)([smhd])", yaml.safe_dump(short))
    assert len(durations) > 20
    assert all(unit == "s" and 1 <= int(number) <= 1440 for number, unit in durations)
    assert [each.get("record") for each in short] == [each.get("record") for each in _rules(RULES)]
    assert "ragfleet_ingestion_oldest_file_seconds) > 5\n" in shortened(RULES)
    assert "nv_gpu_memory_total_bytes > 0.98" in shortened(RULES)


def test_each_alert_has_a_fault_or_a_reason() -> None:
    tried = [alert for fault in FAULTS for alert in fault.alerts]
    assert sorted([*tried, *UNPROVED]) == sorted(str(each["alert"]) for each in _rules(RULES) if "alert" in each)


def _answers(count: int, *values: float) -> list[Answer]:
    points = [(BEGIN + 10 * index, value) for index, value in enumerate(values)]
    series = [Series({"state": HOSTILE, "instance": f"{HOSTILE}{number}"}, points) for number in range(count)]
    return [Answer(panel, query, series) for panel in panels() for query in panel.queries]


def test_a_picture_has_every_panel_whatever_was_found() -> None:
    for found in (_answers(0), _answers(1, 0.0), _answers(3, 0.0, 1e-9, 5.0), _answers(40, 12345678.9, -1.0)):
        root = ElementTree.fromstring(picture(found, BEGIN, END, HOSTILE))
        texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
        assert {panel.title for panel in panels()} <= set(texts)
        assert HOSTILE in texts
        assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
        for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
            assert all(-1 <= float(number) <= 500 for number in re.split(r"[ ,]", line.get("points", "")))
