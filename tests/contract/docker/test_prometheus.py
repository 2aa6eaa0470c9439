"""Prometheus's own checker reads the configuration and the rules, and tries the rules on made-up series."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ragfleet.paths import PROJECT
from tests.support.debian_program import unpack

CONFIGURATION = PROJECT / "docker" / "prometheus"
TRIED = ("alerts_test.yml", "slo_test.yml")


@pytest.fixture(scope="module")
def promtool() -> Path:
    return unpack("prometheus", "prometheus") / "usr" / "bin" / "promtool"


def says(promtool: Path, *arguments: str | Path, folder: Path) -> str:
    said = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


@pytest.mark.timeout(600)  # days of made-up series, and promtool has no other patience than ours
def test_rules_are_valid_and_fire_when_they_should(promtool: Path, tmp_path: Path) -> None:
    shutil.copy(CONFIGURATION / "alerts.yml", tmp_path)
    assert "22 rules found" in says(promtool, "check", "rules", "alerts.yml", folder=tmp_path)
    for tried in TRIED:
        shutil.copy(Path(__file__).with_name(tried), tmp_path)
        assert "SUCCESS" in says(promtool, "test", "rules", tried, folder=tmp_path)


def test_each_alert_is_tried_and_has_a_runbook() -> None:
    groups = yaml.safe_load((CONFIGURATION / "alerts.yml").read_text("utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    tests = [yaml.safe_load(Path(__file__).with_name(tried).read_text("utf-8"))["tests"] for tried in TRIED]
    tried = {
        each["alertname"] for file in tests for test in file for each in test["alert_rule_test"] if each["exp_alerts"]
    }
    assert tried == alerts
    headings = re.findall(r"^### (\w+)", (PROJECT / "docs" / "runbooks.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(alerts)


def test_configuration_is_valid(promtool: Path, tmp_path: Path) -> None:
    """But for Consul's discovery, which Debian's Prometheus does not have: its job is read with fixed targets instead."""
    read = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text("utf-8"))
    discovering = [job for job in read["scrape_configs"] if job.pop("consul_sd_configs", None)]
    assert [job["job_name"] for job in discovering] == ["triton"]
    discovering[0]["static_configs"] = [{"targets": ["triton-0:8103"]}]
    read["rule_files"] = [str(CONFIGURATION / "alerts.yml")]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(read))
    says(promtool, "check", "config", "prometheus.yml", folder=tmp_path)
