"""``reload``: it puts the file in force, or says why not."""

import signal
from pathlib import Path

from tests.console.support import Running, eventually


def change(own: Running, old: str, new: str) -> None:
    """Edit the configuration file."""
    text = own.file.read_text()
    assert old in text
    own.file.write_text(text.replace(old, new))


def test_new_sessions_are_served_by_new_workers_and_old_ones_stay_visible(own: Running) -> None:
    old = set(own.workers)
    client = own.imap("before@example.test")
    with own.asker() as asker, own.asker() as watching:
        watching.tail()
        done = asker.done("reload")
        assert done["generation"] == 2
        assert len(done["workers"]) == 2
        assert not old & set(done["workers"])
        assert watching.event("server.reloaded")["generation"] == 2
        own.imap("after@example.test")
        assert watching.event("relay.started")["user"] == "after@example.test", "new workers are watched too"
        workers = {one["user"]: one["worker"] for one in asker.sessions()}
        assert workers["before@example.test"] in old
        assert workers["after@example.test"] in done["workers"]
        eventually(lambda: [one["draining"] for one in asker.done("status")["workers"]].count(True) == 1)
        assert len(asker.sessions("kick", user="before@*")) == 1
        eventually(lambda: not old & set(own.workers))
    assert client.sock is not None


def test_a_file_with_an_error_is_refused_with_the_reason_and_changes_nothing(own: Running) -> None:
    old = own.workers
    change(own, 'protocol = "imap"', 'protocol = "imapp"')
    with own.asker() as asker, own.asker() as watching:
        watching.tail()
        [answer] = asker.ask("reload")
        assert answer["error"] == "refused"
        assert "geomail.toml:" in answer["text"]
        assert "imapp" in answer["text"]
        assert "imapp" in watching.event("server.reload_refused")["reason"]
        configuration = asker.done("status")["configuration"]
        assert "imapp" in configuration["refused"]["error"]
        assert configuration["generation"] == 1
        assert own.workers == old
        change(own, 'protocol = "imapp"', 'protocol = "imap"')
        assert asker.done("reload")["generation"] == 2
        assert asker.done("status")["configuration"]["refused"] is None


def test_a_reload_by_signal_is_seen_too(own: Running) -> None:
    with own.asker() as asker:
        asker.tail()
        own.server.process.send_signal(signal.SIGHUP)
        assert asker.event("server.reloaded")["generation"] == 2


def test_two_clients_that_ask_at_once_are_both_answered(own: Running) -> None:
    with own.asker() as one, own.asker() as other:
        one.send("reload")
        other.send("reload")
        assert max(asker.next()["done"]["generation"] for asker in (one, other)) == 3


def test_a_server_that_is_stopping_refuses_at_once(own: Running) -> None:
    client = own.imap("last@example.test")
    with own.asker() as asker:
        asker.tail()
        own.server.process.send_signal(signal.SIGQUIT)
        asker.event("server.ending")
    with own.asker() as asker:
        [answer] = asker.ask("reload")
    assert (answer["error"], answer["text"]) == ("refused", "geomail is stopping")
    client.logout()


def test_the_number_of_workers_changes(own: Running) -> None:
    change(own, "workers = 2", "workers = 3")
    with own.asker() as asker:
        assert len(asker.done("reload")["workers"]) == 3


def test_the_control_socket_moves_and_its_clients_stay_connected(own: Running, tmp_path: Path) -> None:
    console = own.console
    change(own, "control.sock", "elsewhere.sock")
    with own.asker() as asker:
        assert asker.done("reload")["generation"] == 2
        assert asker.done("status")
    assert not own.path.exists()
    own.path = tmp_path / "elsewhere.sock"
    assert own.console == console
    change(own, "[control]", '[control]\nmode = "0600"')
    with own.asker() as asker:
        asker.done("reload")
    assert own.path.stat().st_mode & 0o777 == 0o600


def test_the_control_socket_is_turned_off_and_on(own: Running, tmp_path: Path) -> None:
    console = own.console
    text = own.file.read_text()
    change(own, f"{tmp_path}/control.sock", "off")
    own.server.process.send_signal(signal.SIGHUP)
    eventually(lambda: not own.path.exists() and console not in own.children)
    assert own.imap("still@example.test").noop()[0] == "OK"
    own.file.write_text(text)
    own.server.process.send_signal(signal.SIGHUP)
    eventually(own.path.exists)
    eventually(lambda: len(own.workers) >= 2)
    assert "died" not in own.server.log.text
