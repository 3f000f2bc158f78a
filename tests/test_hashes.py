"""Hashes made elsewhere are verified here, and geomail's hashes are verified elsewhere."""

import subprocess
from collections.abc import Callable

import pytest

from geomail import hashes
from geomail.hashes import CannotVerify, Hash, UnknownHash, libcrypt, recognise, verify
from tests.servers.support import program

# Of "pass word", by doveadm pw; of "Hello world!", by crypt(3).
ARGON2ID = "$argon2id$v=19$m=65536,t=3,p=1$wdRlLW6JLQqIQ80vjSv4ig$gtlwuX6n1TXyk+ruViG2Y7rq+k+b/UwVYYqTKjjhfyU"
BCRYPT = "$2y$05$uZG.IlXfHUgW2xp5isOtr.40.2HsMNPQkMV9MUNwXOiADoIXkvp7K"
SHA512 = (
    "$6$LM9gn76nE92JSidw$"
    "AXHebUzXlWf6jC4RxYpgsTJGreKR2PfK1ePF.cEYPcHevgJ1.w5DWQ/vFl99xNT6cBert15lZCY9qs7okOBJi/"
)
SHA256 = "$5$t0ow8q9nvw1EEv6g$cTHnLa2KjVz.5Yqe31KD/SiKLt1wd.BX5ERVmOCIQ48"
SSHA = "ye4E2MtP42QBr7OMwxPuEde3AKfa2N5f"
SSHA256 = "XbYpGa/A9qEA839+f73uH+fW7ggFlZ3nd9EufhSWAqeUPZaE"
SSHA512 = "K4EvUFdoFmtn7MpSVIPAmjaWYaoDDG8V0JO9k6QoKglt1/tBAxV70Ub53qx/EWO2M2aRTYeT3I+dK4IZXIflQqSEWag="
HELLO_SHA512 = (
    "$6$rounds=10000$saltstringsaltst$"
    "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."
)
HELLO_SHA256 = "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"

VECTORS = {
    "argon2id": (ARGON2ID, "ARGON2ID", "$argon2id$v=19$m=65536,t=3,p=1", b"pass word"),
    "{ARGON2ID}": ("{ARGON2ID}" + ARGON2ID, "ARGON2ID", "$argon2id$v=19$m=65536,t=3,p=1", b"pass word"),
    "2y": (BCRYPT, "BLF-CRYPT", "05", b"pass word"),
    "2b": (BCRYPT.replace("2y", "2b"), "BLF-CRYPT", "05", b"pass word"),
    "2a": (BCRYPT.replace("2y", "2a"), "BLF-CRYPT", "05", b"pass word"),
    "{BLF-CRYPT}": ("{BLF-CRYPT}" + BCRYPT, "BLF-CRYPT", "05", b"pass word"),
    "{CRYPT} and bcrypt": ("{CRYPT}" + BCRYPT, "BLF-CRYPT", "05", b"pass word"),
    "6": (SHA512, "SHA512-CRYPT", "5000", b"pass word"),
    "{SHA512-CRYPT}": ("{SHA512-CRYPT}" + SHA512, "SHA512-CRYPT", "5000", b"pass word"),
    "in lower case": ("{sha512-crypt}" + SHA512, "SHA512-CRYPT", "5000", b"pass word"),
    "{CRYPT} and 6": ("{CRYPT}" + SHA512, "SHA512-CRYPT", "5000", b"pass word"),
    "6 with rounds": (HELLO_SHA512, "SHA512-CRYPT", "10000", b"Hello world!"),
    "{SHA256-CRYPT}": ("{SHA256-CRYPT}" + SHA256, "SHA256-CRYPT", "5000", b"pass word"),
    "5 with rounds": (HELLO_SHA256, "SHA256-CRYPT", "10000", b"Hello world!"),
    "{SSHA}": ("{SSHA}" + SSHA, "SSHA", "", b"pass word"),
    "{SSHA256}": ("{SSHA256}" + SSHA256, "SSHA256", "", b"pass word"),
    "{SSHA512}": ("{SSHA512}" + SSHA512, "SSHA512", "", b"pass word"),
}


@pytest.mark.parametrize(("text", "scheme", "cost", "password"), VECTORS.values(), ids=VECTORS.keys())
def test_hashes_made_elsewhere(text: str, scheme: str, cost: str, password: bytes) -> None:
    known = recognise(text)

    assert (known.scheme, known.cost) == (scheme, cost)
    assert verify(known, password)
    for wrong in (password + b"x", password[:-1], password.swapcase(), b""):
        assert not verify(known, wrong), wrong


@pytest.mark.parametrize("scheme", hashes._SCHEMES)
def test_hashes_that_dovecot_makes(scheme: str) -> None:
    for password in ("correct horse", "pässwörd€"):
        command = [program("doveadm"), "pw", "-s", scheme, "-p", password]
        made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

        assert recognise(made).scheme == scheme
        assert verify(recognise(made), password.encode())
        assert not verify(recognise(made), password.upper().encode())


Make = Callable[[bytes], str]
MAKERS = {
    "ARGON2ID": hashes.make_argon2id,
    "BLF-CRYPT": hashes.make_bcrypt,
    "SHA512-CRYPT": hashes.make_sha512_crypt,
}


@pytest.mark.parametrize(("scheme", "make"), MAKERS.items())
def test_geomails_hashes(scheme: str, make: Make) -> None:
    made = make(b"p\xc3\xa4ss")

    assert made.startswith(f"{{{scheme}}}$")
    assert make(b"p\xc3\xa4ss") != made
    assert recognise(made).scheme == scheme
    assert verify(recognise(made), b"p\xc3\xa4ss")


@pytest.mark.parametrize(("scheme", "make"), MAKERS.items())
def test_dovecot_verifies_geomails_hashes(scheme: str, make: Make) -> None:
    command = [program("doveadm"), "pw", "-t", make(b"correct horse"), "-p", "correct horse"]

    assert "(verified)" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


BROKEN = {
    "nothing": ("", "this is not a password hash"),
    "a password": ("secret", "this is not a password hash"),
    "braces alone": ("{}secret", "this is not a password hash"),
    "scheme alone": ("{ARGON2ID}", "the text after {ARGON2ID} is not a complete hash"),
    "unknown scheme": (
        "{MD5-CRYPT}$1$s7H9AxXF$x",
        "{MD5-CRYPT} is not a scheme that geomail can verify; use",
    ),
    "in clear": ("{PLAIN}secret", "{PLAIN} is not a scheme"),
    "encoded otherwise": ("{SSHA.HEX}00", "{SSHA.HEX} is not a scheme"),
    "another scheme's": ("{SHA512-CRYPT}" + BCRYPT, "the text after {SHA512-CRYPT}"),
    "crypt of old": ("{CRYPT}$1$s7H9AxXF$eDTpHbk7UQ5rj8sAKqz5m0", "the text after {CRYPT}"),
    "argon2id cut": (ARGON2ID[:-1], "this is not"),
    "argon2id without its end": (ARGON2ID.rpartition("$")[0], "this is not"),
    "argon2id with more": (ARGON2ID + "$", "this is not"),
    "argon2id, bits that are none": (ARGON2ID[:-1] + "V", "this is not"),
    "argon2id of old": (ARGON2ID.replace("v=19", "v=16"), "this is not"),
    "argon2i": (ARGON2ID.replace("argon2id", "argon2i"), "this is not"),
    "bcrypt cut": (BCRYPT[:-1], "this is not"),
    "bcrypt with more": (BCRYPT + "a", "this is not"),
    "bcrypt, a broken version": (BCRYPT.replace("2y", "2x"), "this is not"),
    "bcrypt, too cheap": (BCRYPT.replace("05", "03"), "this is not"),
    "bcrypt, too expensive": (BCRYPT.replace("05", "32"), "this is not"),
    "bcrypt, salt bits that are none": (BCRYPT.replace("Otr.", "Otr/"), "this is not"),
    "bcrypt, hash bits that are none": (BCRYPT[:-1] + "L", "this is not"),
    "6 cut": (SHA512[:-1], "this is not"),
    "6, too few rounds": ("$6$rounds=999$abc$" + "a" * 86, "this is not"),
    "6, too much salt": ("$6$12345678901234567$" + "a" * 86, "this is not"),
    "SSHA cut": ("{SSHA}" + SSHA[:-5], "the text after {SSHA}"),
    "SSHA without salt": ("{SSHA}" + SSHA[:26] + "==", "the text after {SSHA}"),
    "not ASCII": ("{SSHA}" + "ä" * 32, "the text after {SSHA}"),
    "a line break": (BCRYPT + "\n", "this is not"),
}


@pytest.mark.parametrize(("text", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_text_that_is_not_a_hash(text: str, said: str) -> None:
    with pytest.raises(UnknownHash) as raised:
        recognise(text)

    assert str(raised.value).startswith(said)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("text", ["{ARGON2ID}" + ARGON2ID, BCRYPT, SHA512, SHA256, "{SSHA}" + SSHA])
@pytest.mark.parametrize("password", [b"x" * 73, b"x" * 5000, b"\xff\xfe", b""])
def test_any_password_is_right_or_wrong(text: str, password: bytes) -> None:
    assert not verify(recognise(text), password)


def test_a_password_longer_than_bcrypt_can_tell_apart_is_wrong() -> None:
    known = recognise(hashes.make_bcrypt(b"x" * 72))

    assert verify(known, b"x" * 72)
    assert not verify(known, b"x" * 73)


def test_a_hash_that_needs_more_memory_than_there_is() -> None:
    known = recognise(ARGON2ID.replace("m=65536", "m=4294967295"))

    with pytest.raises(CannotVerify, match="emory"):
        verify(known, b"pass word")


def test_a_hash_is_half_a_secret() -> None:
    known = recognise(BCRYPT)

    assert isinstance(known, Hash)
    assert BCRYPT[10:] not in f"{known!r}{known}"


@pytest.mark.parametrize("text", [SHA512, SHA256])
def test_the_c_library_verifies_what_it_knows(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known, made = recognise(text), []
    monkeypatch.setattr(hashes._Passlib, "verify", lambda *_: made.append("libpass"))

    assert verify(known, b"pass word")
    assert not verify(known, b"x" * 511)
    assert made == []
    assert not verify(known, b"x" * 512)
    assert made == ["libpass"]


@pytest.mark.parametrize("text", [SHA512, SHA256])
def test_without_the_c_library_libpass_does(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypt, "_crypt_r", None)

    assert verify(recognise(text), b"pass word")
    assert not verify(recognise(text), b"pass wore")
