"""The credentials of an imagined client, by every method that there is."""

import hashlib
import hmac

import pytest

from geomail.parties import Asserted, Credentials, Digest, Method, Password, Token
from geomail.preview.client import Unusable, make_credentials

SALT = b"<1@x>"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("plain", Password(b"u", b"s3cret")),
        ("apop", Digest(b"u", hashlib.md5(SALT + b"s3cret").hexdigest().encode(), SALT, "apop")),
        ("cram-md5", Digest(b"u", hmac.new(b"s3cret", SALT, "md5").hexdigest().encode(), SALT, "cram-md5")),
        ("oauthbearer", Token(b"u", b"s3cret", "oauthbearer")),
        ("xoauth2", Token(b"u", b"s3cret", "xoauth2")),
        ("external", Asserted(b"u")),
    ],
)
def test_credentials_by_each_method(method: Method, expected: Credentials) -> None:
    made = make_credentials(method, b"u", b"s3cret", SALT)

    assert made == expected
    assert made.method == method


def test_mail_without_a_login_is_no_method_of_a_user() -> None:
    with pytest.raises(Unusable, match="give --from and --to"):
        make_credentials("none", b"u", b"s3cret", SALT)
