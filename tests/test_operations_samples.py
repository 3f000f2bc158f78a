"""The samples for operators: the names in them exist, and the programs that read them accept them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.console.support import eventually, running
from tests.console.test_metrics import Measured
from tests.servers.support import LOOPBACK, free_port, program

SAMPLES = Path(__file__).parents[1] / "samples"


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((SAMPLES / "alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_the_scrape_configuration_reads_where_metrics_are_by_default() -> None:
    from geomail.config.values import METRICS_ADDRESS

    content = yaml.safe_load((SAMPLES / "prometheus.yml").read_text())
    [job] = content["scrape_configs"]
    assert job["job_name"] == "geomail"
    assert job["static_configs"] == [{"targets": ["{}:{}".format(*METRICS_ADDRESS)]}]
    assert content["rule_files"] == ["alerts.yml"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_is_complete(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    for opening, closing in ("()", "{}", "[]"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing)


def test_rules_name_existing_metrics_and_labels(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, **{"metrics.listen": f"{LOOPBACK}:{port}"}) as server:
        measured = Measured(server, port)
        server.imap("user@example.test")
        server.leave()
        eventually(lambda: any(name.startswith("geomail_backend_up ") for name in measured.samples()))
        page = measured.get("/metrics")[2]
    names = set(re.findall(r"^(geomail_\w+)", page, re.MULTILINE))
    labels = {*re.findall(r'[{,](\w+)="', page), "instance", "job"}
    for rule in rules():
        assert set(re.findall(r"geomail_\w+", rule["expr"])) <= names, rule["alert"]
        grouped = re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"])
        assert {label for group in grouped for label in group.split(", ")} <= labels, rule["alert"]
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels, rule["alert"]


def unit() -> dict[str, str]:
    lines = (SAMPLES / "geomail.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_the_unit_is_hardened_and_can_bind_what_mail_needs() -> None:
    options = unit()
    assert options["Type"] == "notify-reload"
    assert options["NoNewPrivileges"] == "yes"
    assert options["ProtectSystem"] == "strict"
    assert options["AmbientCapabilities"] == options["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert options["RuntimeDirectory"] == "geomail"
    assert int(options["LimitNOFILE"]) >= 2 * 16384 + 100


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    path = shutil.which("systemd-analyze")
    if path is None:
        pytest.skip("no systemd here")
    file = tmp_path / "geomail.service"
    text = (SAMPLES / "geomail.service").read_text().replace("/usr/local/bin/geomail", "/bin/true")
    # before version 253 systemd does not know this type, but all the rest
    file.write_text(text.replace("notify-reload", "notify").replace("Documentation=", "#"))
    answer = subprocess.run([path, "verify", file], capture_output=True, text=True, check=False)
    assert [line for line in answer.stderr.splitlines() if file.name in line] == []


def test_logrotate_understands_its_file(tmp_path: Path) -> None:
    state, file = str(tmp_path / "state"), str(SAMPLES / "geomail.logrotate")
    command = [program("logrotate"), "--debug", "--state", state, file]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "error" not in answer.stderr
