"""``geomail status``: the output for operators and for programs."""

import json
import re

from tests.cli.commands import geomail, invoked
from tests.console.support import Running


def test_everything_is_there_and_what_asks_for_attention(own: Running) -> None:
    own.imap("one@example.test")
    own.client("smtp", "two@example.test")
    done = geomail("status", "-c", own.file)
    assert done.returncode == 0
    facts, workers, servers, backends = done.stdout.split("\n\n")
    assert f"process {own.master}" in facts
    assert f"{own.file}, generation 1" in facts
    assert re.search(r"^sessions +2 now; ", facts, re.MULTILINE)
    assert "2 logins" in facts
    assert [line.split()[0] for line in workers.splitlines()[1:]] == [str(pid) for pid in own.workers]
    assert [line.split()[:3] for line in servers.splitlines()[1:]] == [
        ["imap-in", "1", "1"],
        ["pop3-in", "0", "0"],
        ["smtp-in", "1", "1"],
    ]
    assert len(backends.splitlines()) == 4
    assert done.stderr == ""
    _attention_is_asked_for(own)


def _attention_is_asked_for(own: Running) -> None:
    own.file.write_text(own.file.read_text() + "nonsense = 1\n")
    with own.asker() as asker:
        asker.ask("reload")
    done = invoked("status", "-c", own.file)
    assert done.returncode == 0
    assert "the last reload" in done.stderr
    assert "nonsense" in done.stderr
    assert "has changed since" in done.stderr


def test_json(shared: Running) -> None:
    status = json.loads(invoked("status", "--socket", shared.path, "--json").stdout)
    assert status["pid"] == shared.master
    assert [worker["pid"] for worker in status["workers"]] == shared.workers
