"""A certificate authority for the tests, with good and bad certificates."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.support import program

NAMES = "DNS:localhost,DNS:mail.example.test,IP:127.0.0.1,IP:::1"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Make the context of a TLS server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Certificates:
    """The authority ``ca``, and the certificates that it signed (all but ``untrusted``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = self._self_signed("ca", "DNS:ca.test", authority=True)
        self.server = self._signed("server", NAMES)
        self.misnamed = self._signed("misnamed", "DNS:elsewhere.test")
        self.expired = self._signed("expired", NAMES, days=-1)
        self.client = self._signed("client", "DNS:client.test", purpose="clientAuth")
        self.untrusted = self._self_signed("untrusted", NAMES)

    def client_context(self) -> ssl.SSLContext:
        """Make the context of a client that trusts the authority and checks names."""
        return ssl.create_default_context(cafile=str(self.ca.certificate))

    def _files(self, name: str) -> Certificate:
        return Certificate(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def _self_signed(self, name: str, names: str, authority: bool = False) -> Certificate:
        files = self._files(name)
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"] if authority else []
        _openssl(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            f"/CN=geomail tests: {name}",
            "-days",
            "30",
            "-addext",
            f"subjectAltName={names}",
            *usage,
            "-keyout",
            files.key,
            "-out",
            files.certificate,
        )
        return files

    def _signed(self, name: str, names: str, days: int = 30, purpose: str = "serverAuth") -> Certificate:
        files = self._files(name)
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName={names}\nextendedKeyUsage={purpose}\nbasicConstraints=critical,CA:FALSE\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl(
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            f"/CN=geomail tests: {name}",
            "-keyout",
            files.key,
            "-out",
            request,
        )
        _openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.ca.certificate,
            "-CAkey",
            self.ca.key,
            "-CAcreateserial",
            "-days",
            str(days),
            "-extfile",
            extensions,
            "-out",
            files.certificate,
        )
        return files


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([program("openssl"), *arguments], check=True, capture_output=True)
