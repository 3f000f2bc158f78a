"""What is kept of good answers, and for whom."""

from dataclasses import replace

import gevent
import pytest

from geomail.auth import cache
from geomail.auth.base import Accepted
from geomail.auth.cache import AnswerCache
from geomail.backends import Endpoint
from geomail.protocols.base import Login, Peer

LOGIN = Login("plain", b"anna@example.org", b"secret", tag=b"a1")
PEER = Peer("192.0.2.1", 4711, "192.0.2.2", 143, tls=("TLSv1.3", "TLS_AES_128_GCM_SHA256"))
ANSWER = Accepted(Endpoint("", "10.0.0.1", 143), b"anna", b"secret")


def kept() -> tuple[AnswerCache, bytes]:
    answers = AnswerCache(60.0)
    key = answers.key(LOGIN, PEER, "imap")
    assert key is not None
    answers.put(key, ANSWER)
    return answers, key


def test_the_same_user_password_and_client_get_the_same_answer() -> None:
    answers, key = kept()
    same = answers.key(replace(LOGIN, tag=b"a2"), replace(PEER, port=4712), "imap")
    assert same == key
    assert answers.get(key) == ANSWER


@pytest.mark.parametrize(
    ("login", "peer", "protocol"),
    [
        (replace(LOGIN, user=b"anna@example.com"), PEER, "imap"),
        (replace(LOGIN, password=b"Secret"), PEER, "imap"),
        (replace(LOGIN, user=b"anna@example.orgs", password=b"ecret"), PEER, "imap"),
        (LOGIN, replace(PEER, address="192.0.2.9"), "imap"),
        (LOGIN, replace(PEER, tls=None), "imap"),
        (LOGIN, replace(PEER, name=b"mail.example.org"), "imap"),
        (LOGIN, PEER, "pop3"),
    ],
)
def test_whatever_the_answer_may_depend_on_makes_another_key(login: Login, peer: Peer, protocol: str) -> None:
    answers, key = kept()
    other = answers.key(login, peer, protocol)
    assert other is not None
    assert other != key
    assert answers.get(other) is None


@pytest.mark.parametrize("method", ["apop", "cram-md5", "external", "none"])
def test_methods_without_a_password_are_asked_about_each_time(method: str) -> None:
    login = Login(method, b"anna", b"0" * 32, salt=b"<1@x>")  # type: ignore[arg-type]
    assert AnswerCache(60.0).key(login, PEER, "imap") is None


def test_an_answer_does_not_last() -> None:
    answers = AnswerCache(0.02)
    key = answers.key(LOGIN, PEER, "imap")
    assert key is not None
    answers.put(key, ANSWER)
    gevent.sleep(0.03)
    assert answers.get(key) is None


def test_the_number_kept_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_KEPT", 3)
    answers = AnswerCache(60.0)
    for key in (b"1", b"2", b"3", b"4"):
        answers.put(key, ANSWER)
    assert [answers.get(key) is not None for key in (b"1", b"2", b"3", b"4")] == [False, True, True, True]


def test_no_password_can_be_found_in_it_and_keys_differ_between_processes() -> None:
    answers, key = kept()
    assert b"secret" not in repr(list(answers._answers)).encode()
    assert AnswerCache(60.0).key(LOGIN, PEER, "imap") != key
