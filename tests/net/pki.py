"""Certificates for every result of a verification, made by the openssl command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.support import program

SUBJECT = "/C=US/O=Ac me/CN=cli ent.test"
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
RSA = ("-newkey", "rsa:2048")

_CONFIG = """
[ca]
default_ca = this
[this]
database = {index}
default_md = sha256
default_crl_days = 30
"""


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and of its key."""

    certificate: str
    key: str

    @property
    def text(self) -> str:
        """The certificate in PEM."""
        return Path(self.certificate).read_text()


class Pki:
    """Two CAs, one of them trusted, and the certificates that they signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = self._root("ca", "/CN=test CA")
        self.other_ca = self._root("other", "/CN=other CA")
        self.intermediate = self._issue("intermediate", self.ca, "/CN=test intermediate", authority=True)
        self.ec = self._issue("ec", self.ca, "/CN=localhost", names="DNS:localhost")
        self.rsa = self._issue("rsa", self.ca, "/CN=localhost", names="DNS:localhost", kind=RSA)
        self.good = self._issue("good", self.ca, SUBJECT)
        self.expired = self._issue("expired", self.ca, "/CN=expired", days=-1)
        self.revoked = self._issue("revoked", self.ca, "/CN=revoked")
        self.stranger = self._issue("stranger", self.other_ca, "/CN=stranger")
        self.self_signed = self._root("self", "/CN=self-signed", authority=False)
        self.deep = self._with_chain(self._issue("deep", self.intermediate, "/CN=deep"), self.intermediate)
        self.crl = self._crl("ca", self.ca, self.revoked)
        self.intermediate_crl = self._crl("intermediate", self.intermediate)
        self.dhparam = self._dhparam()

    def encrypted(self, pair: Pair, password: str) -> Pair:
        """Make a copy of the pair with an encrypted key."""
        key = self._path(f"{Path(pair.key).stem}.encrypted.key")
        _openssl("pkey", "-in", pair.key, "-aes128", "-passout", f"pass:{password}", "-out", key)
        return Pair(pair.certificate, key)

    def weak(self) -> Pair:
        """Make a pair that OpenSSL's default security level refuses."""
        return self._issue("weak", self.ca, "/CN=weak", kind=("-newkey", "rsa:1024"))

    def named(self, name: str, subject: str, *more: str) -> Pair:
        """Make a certificate of the trusted CA for a subject."""
        return self._issue(name, self.ca, subject, more=more)

    def openssl(self, *arguments: str) -> str:
        """Run the openssl command, and return its output."""
        return _openssl(*arguments)

    def file(self, name: str, content: str | bytes) -> str:
        """Return the path of a file beside the others."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _root(self, name: str, subject: str, authority: bool = True) -> Pair:
        pair = Pair(self._path(f"{name}.crt"), self._path(f"{name}.key"))
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign") if authority else ()
        files = ("-keyout", pair.key, "-out", pair.certificate)
        _openssl("req", "-x509", *EC, "-nodes", "-subj", subject, "-days", "30", *usage, *files)
        return pair

    def _issue(
        self,
        name: str,
        issuer: Pair,
        subject: str,
        names: str = "",
        days: int = 30,
        authority: bool = False,
        kind: tuple[str, ...] = EC,
        more: tuple[str, ...] = (),
    ) -> Pair:
        pair, request = Pair(self._path(f"{name}.crt"), self._path(f"{name}.key")), self._path(f"{name}.csr")
        extensions = f"basicConstraints=critical,CA:{str(authority).upper()}\n"
        extensions += f"subjectAltName={names}\n" if names else ""
        _openssl(
            "req", "-new", *kind, "-nodes", "-subj", subject, *more, "-keyout", pair.key, "-out", request
        )
        signer = ("-CA", issuer.certificate, "-CAkey", issuer.key, "-CAcreateserial", "-days", str(days))
        text = ("-extfile", self.file(f"{name}.ext", extensions))
        _openssl("x509", "-req", "-in", request, *signer, *text, "-out", pair.certificate)
        return pair

    def _with_chain(self, pair: Pair, issuer: Pair) -> Pair:
        return Pair(self.file("deep.chain.crt", pair.text + issuer.text), pair.key)

    def _crl(self, name: str, issuer: Pair, *revoked: Pair) -> str:
        config = self.file(f"{name}.conf", _CONFIG.format(index=self.file(f"{name}.index", "")))
        signer = ("-config", config, "-cert", issuer.certificate, "-keyfile", issuer.key)
        for pair in revoked:
            _openssl("ca", *signer, "-revoke", pair.certificate)
        _openssl("ca", *signer, "-gencrl", "-out", self._path(f"{name}.crl"))
        return self._path(f"{name}.crl")

    def _dhparam(self) -> str:
        _openssl(
            "genpkey",
            "-genparam",
            "-algorithm",
            "DH",
            "-pkeyopt",
            "group:ffdhe2048",
            "-out",
            self._path("dh.pem"),
        )
        return self._path("dh.pem")


def _openssl(*arguments: str) -> str:
    return subprocess.run([program("openssl"), *arguments], check=True, capture_output=True, text=True).stdout
