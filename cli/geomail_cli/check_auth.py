"""``geomail check-auth``: one question to an auth service, and what is to be said about the answer."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geomail_cli import given, render
from geomail_cli.given import MethodName
from geomail_cli.render import counted

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.conversation import Mask
    from geomail.preview.client import Words
    from geomail_cli.listing import Listing

_STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "error": "red"}


def check_auth(
    config: given.ConfigFile = None,
    server: given.ServerChoice = None,
    protocol: given.ProtocolChoice = None,
    client: given.Client = None,
    client_name: given.ClientName = None,
    user: given.User = None,
    password_file: given.PasswordFile = None,
    method: Annotated[
        MethodName | None, typer.Option(help="How the client logs in; default: plain, or none with --from.")
    ] = None,
    ehlo: given.Ehlo = None,
    helo: given.Helo = None,
    sender: given.Sender = None,
    recipient: given.Recipient = None,
    as_json: given.AsJson = False,
) -> None:
    """Ask the auth service about a login as geomail does, and judge its answer.

    Request and answer are printed, passwords masked, with what is to be said
    about each line, for geomail and for nginx. Nothing is said to a backend.
    The password is asked for if there is no --password-file.

    Exit status: 0 the answer can be used, 1 it cannot, 2 wrong usage.
    """
    words = given.words(
        ehlo=ehlo,
        helo=helo,
        user=user,
        password_file=password_file,
        sender=sender,
        recipient=recipient,
    )
    with given.usage():
        check = _Check(given.configuration(config), server, protocol, client, client_name)
        check.ask(words, method)
    if as_json:
        typer.echo(json.dumps(check.result(), indent=2))
    else:
        check.show()
    if check.failed:
        raise typer.Exit(1)


class _Check:
    """One question, put to the auth service of one server."""

    def __init__(
        self,
        config: Config,
        server: str | None,
        protocol: str | None,
        client: str | None,
        client_name: str | None,
    ) -> None:
        from geomail.auth.http import HttpSource
        from geomail.config.probe.names import resolve_name_servers
        from geomail.preview.client import Unusable, find_server, make_client
        from geomail.preview.handshake import Stage

        chosen, listens = find_server(config, protocol, server)
        self.server = resolve_name_servers(chosen)
        self._stage = Stage(config, self.server)
        if not isinstance(self._stage.source, HttpSource):
            raise Unusable(f"{self.server.name} asks no auth service: {self._stage.asked}")
        self._source = self._stage.source
        self._client = make_client(self.server, listens, client, client_name)
        if client_name is None and self.server.protocol == "smtp":
            self._stage.name_client(self._client)

    def ask(self, words: Words, method: MethodName | None) -> None:
        """Put the question. Raises Unusable."""
        from geomail.auth.trial import put_to
        from geomail.preview.client import by_method, make_login

        words = _with_password(words, method)
        login = make_login(self.server, words, self._client)
        if method is not None and method.value != login.method:
            login = by_method(self.server, login, method.value)
        with closing(self._source):
            self._trial = put_to(
                *(self._source, login, self._client, self.server.protocol, self._stage.backends),
                needs_password=self._stage.tells_password,
            )
        self._mask = self._masking(words)

    def _masking(self, words: Words) -> Mask:
        """Masks what was sent and may come back: the password, and the secrets in ``auth_http_header``."""
        from geomail.auth.base import Accepted
        from geomail.secrets import masking

        secrets = {value.encode() for _, value in self.server.auth_http_header} | {words.password or b""}
        secrets |= {secret.strip(b" \t") for secret in secrets}  # as the end of a header's value leaves them
        if isinstance(self._trial.verdict, Accepted):
            secrets.add(self._trial.verdict.password or b"")
        return masking(secrets)

    @property
    def failed(self) -> bool:
        """Whether the answer cannot be used, or not as it was meant."""
        return bool(self._trial.problem) or self._count("error") > 0

    def _count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self._trial.findings)

    # -- what is shown ----------------------------------------------------------------------------

    def _request(self) -> list[str]:
        from geomail.secrets import as_text

        secret = {"auth-pass", *(name.lower() for name, _ in self.server.auth_http_header)}
        return [_without_value(as_text(line), secret) for line in self._trial.request]

    def _answer(self) -> list[str]:
        from geomail.secrets import as_text

        return [_without_value(as_text(self._mask(line)), {"auth-pass"}) for line in self._trial.head]

    def _verdict(self) -> tuple[str, str]:
        """What came of it, in a word and in words."""
        from geomail.auth.base import Accepted
        from geomail.secrets import as_text

        verdict = self._trial.verdict
        if isinstance(verdict, Accepted):
            whom = as_text(verdict.user) or "the mail"
            return "accepted", f"the login is accepted: {whom} goes to {verdict.backend.described}"
        if verdict is not None:
            return "refused", f"the login is refused: {as_text(self._mask(verdict.refusal.text))}"
        if not self._trial.problem:
            return "wait", "the question would be put again (WAIT)"
        if self._count("error"):
            return "unusable", "the answer cannot be used"
        return "unusable", as_text(self._mask(self._trial.problem.encode()))

    def result(self) -> dict[str, Any]:
        """The whole check, for machines."""
        outcome, reason = self._verdict()
        return {
            "server": self.server.name,
            "protocol": self.server.protocol,
            "service": self.server.auth_http.label if self.server.auth_http else "",
            "ok": not self.failed,
            "verdict": outcome,
            "reason": reason,
            "seconds": round(self._trial.seconds, 3),
            "request": self._request(),
            "answer": self._answer(),
            "findings": [asdict(finding) for finding in self._trial.findings],
        }

    def show(self) -> None:
        """Print the check."""
        from geomail_cli.listing import Listing

        console = render.stdout()
        render.show_heading(
            console, f"{self.server.protocol} server {self.server.name} asks {self._stage.asked}"
        )
        with Listing(console) as listing:
            for line in self._request():
                listing.row("geomail", line)
            for number, line in enumerate(self._answer()):
                self._show_line(listing, number, line)
            self._show_line(listing, None, "")
        counts = [counted(self._count(kind), kind) for kind in ("error", "warning") if self._count(kind)]
        summary = f" ({', '.join(counts)})" if counts else ""
        render.show_verdict(console, self._verdict()[1] + summary, self.failed)

    def _show_line(self, listing: Listing, number: int | None, line: str) -> None:
        found = [finding for finding in self._trial.findings if finding.line == number]
        for finding in found:
            text = f"{finding.severity}: {finding.text}" if finding.text else finding.severity
            listing.row("service", line, text, _STYLES[finding.severity])
            line = ""
        if line:
            listing.row("service", line)


def _with_password(words: Words, method: MethodName | None) -> Words:
    """The words with a password, asked for at the terminal if one is needed and was not given."""
    from geomail.preview.client import Unusable

    if words.sender is not None or words.recipient is not None or words.password is not None:
        return words
    if words.user is None:
        raise Unusable("give --user, or --from and --to")
    if method is MethodName.EXTERNAL:
        return words
    return replace(words, password=given.password_prompted(words.user))


def _without_value(line: str, names: Collection[str]) -> str:
    """A header, its value masked if it is one of these and not empty."""
    from geomail.config.values import MASK

    name, colon, value = line.partition(":")
    return f"{name}: {MASK}" if colon and name.lower() in names and value.strip() else line
