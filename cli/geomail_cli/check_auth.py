"""``geomail check-auth``: one question to an auth service, and findings about the answer."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geomail_cli import output
from geomail_cli.error_reports import load_configuration, report_errors
from geomail_cli.login_options import LoginOptions, MethodName
from geomail_cli.option_groups import ConfigOption, JsonOption, spread_groups
from geomail_cli.output import pluralize
from geomail_cli.passwords import ask_for_password

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.conversation import Mask
    from geomail.preview.client import Words
    from geomail_cli.dialogue_listing import DialogueListing

_STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "error": "red"}


@spread_groups
def check_auth(
    login: LoginOptions,
    method: Annotated[
        MethodName | None,
        typer.Option("--method", metavar="METHOD", help="plain, apop, cram-md5, external, none."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send a login to the auth service and judge its answer.

    The command prints the request and the answer, and judges each line of the
    answer, for geomail and for nginx. It does not connect to a backend. Without
    --password-file it asks for the password. Passwords are masked. The default
    of --method is plain, or none with --from.

    Exit status: 0 the answer can be used, 1 it cannot, 2 wrong usage.
    """
    words = login.make_words()
    with report_errors():
        check = _AuthCheck(load_configuration(config), login)
        check.ask(words, method)
    if as_json:
        typer.echo(json.dumps(check.make_result(), indent=2))
    else:
        check.show()
    if check.failed:
        raise typer.Exit(1)


class _AuthCheck:
    """One question to the auth service of one server, its answer, and what was found in it."""

    def __init__(self, config: Config, options: LoginOptions) -> None:
        from geomail.auth.http import HttpSource
        from geomail.config.probe.names import resolve_name_servers
        from geomail.preview.client import Unusable, find_server, make_client
        from geomail.preview.handshake import Stage

        server, listens = find_server(config, options.protocol, options.server)
        self.server = resolve_name_servers(server)
        self._stage = Stage(config, self.server)
        if not isinstance(self._stage.source, HttpSource):
            raise Unusable(
                f"server {self.server.name} does not use an auth service: {self._stage.decider}; "
                "choose another one with --server or --protocol"
            )
        self._source = self._stage.source
        self._client = make_client(self.server, listens, options.client, options.client_name)
        if options.client_name is None and self.server.facts.names_clients:
            self._stage.name_client(self._client)

    def ask(self, words: Words, method: MethodName | None) -> None:
        """Ask the auth service. Raises Unusable."""
        from geomail.auth.trial import run_trial
        from geomail.preview.client import change_method, make_login

        words = _with_password(words, method)
        login = make_login(self.server, words, self._client)
        if method is not None and method.value != login.credentials.method:
            login = change_method(self.server, login, method.value)
        with closing(self._source):
            self._trial = run_trial(
                *(self._source, login, self._client, self.server.protocol),
                *(self._stage.backends, self._stage.resolver),
                needs_password=self._stage.tells_password,
            )
        self._mask = self._make_mask(words)

    def _make_mask(self, words: Words) -> Mask:
        """Return the mask of the secrets that may come back: the password, values of ``auth_http_header``."""
        from geomail.auth.base import Accepted
        from geomail.secrets import make_mask

        secrets = {value.encode() for _, value in self.server.auth_http_header} | {words.password or b""}
        secrets |= {secret.strip(b" \t") for secret in secrets}  # a header's value loses them at its ends
        if isinstance(self._trial.verdict, Accepted):
            secrets.add(self._trial.verdict.password or b"")
        return make_mask(secrets)

    @property
    def failed(self) -> bool:
        """True if the answer cannot be used, or has an error."""
        return bool(self._trial.problem) or self._count("error") > 0

    def _count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self._trial.findings)

    # -- output -----------------------------------------------------------------------------------

    def _format_request(self) -> list[str]:
        from geomail.secrets import as_text

        secret_names = {"auth-pass", *(name.lower() for name, _ in self.server.auth_http_header)}
        return [_mask_value(as_text(line), secret_names) for line in self._trial.request]

    def _format_answer(self) -> list[str]:
        from geomail.secrets import as_text

        return [_mask_value(as_text(self._mask(line)), {"auth-pass"}) for line in self._trial.head]

    def _explain_verdict(self) -> tuple[str, str]:
        """Return the verdict in one word, and as a sentence."""
        from geomail.auth.base import Accepted
        from geomail.secrets import as_text

        verdict = self._trial.verdict
        if isinstance(verdict, Accepted):
            whom = as_text(verdict.user) or "the mail"
            return "accepted", f"the login is accepted: {whom} goes to {self._trial.backend}"
        if verdict is not None:
            return "refused", f"the login is refused: {as_text(self._mask(verdict.refusal.text))}"
        if not self._trial.problem:
            return "wait", "geomail would ask again (WAIT)"
        if self._count("error"):
            return "unusable", "the answer cannot be used"
        return "unusable", as_text(self._mask(self._trial.problem.encode()))

    def make_result(self) -> dict[str, Any]:
        """Return the whole check, for JSON."""
        outcome, reason = self._explain_verdict()
        return {
            "server": self.server.name,
            "protocol": self.server.protocol,
            "service": self.server.auth_http.label if self.server.auth_http else "",
            "ok": not self.failed,
            "verdict": outcome,
            "reason": reason,
            "seconds": round(self._trial.seconds, 3),
            "request": self._format_request(),
            "answer": self._format_answer(),
            "findings": [asdict(finding) for finding in self._trial.findings],
        }

    def show(self) -> None:
        """Print the check for the operator."""
        from geomail_cli.dialogue_listing import DialogueListing

        console = output.make_result_console()
        output.show_heading(
            console, f"{self.server.protocol} server {self.server.name} asks {self._stage.decider}"
        )
        with DialogueListing(console) as listing:
            for line in self._format_request():
                listing.add_row("geomail", line)
            for number, line in enumerate(self._format_answer()):
                self._show_line(listing, number, line)
            self._show_line(listing, None, "")
        counts = [pluralize(self._count(kind), kind) for kind in ("error", "warning") if self._count(kind)]
        summary = f" ({', '.join(counts)})" if counts else ""
        output.show_summary(console, self._explain_verdict()[1] + summary, self.failed)

    def _show_line(self, listing: DialogueListing, number: int | None, line: str) -> None:
        found = [finding for finding in self._trial.findings if finding.line == number]
        for finding in found:
            text = f"{finding.severity}: {finding.text}" if finding.text else finding.severity
            listing.add_row("service", line, text, _STYLES[finding.severity])
            line = ""
        if line:
            listing.add_row("service", line)


def _with_password(words: Words, method: MethodName | None) -> Words:
    """Return the words with a password; ask for it at the terminal if it is needed and not given."""
    from geomail.preview.client import Unusable

    if words.sender is not None or words.recipient is not None or words.password is not None:
        return words
    if words.user is None:
        raise Unusable("no login to ask about: give --user, or --from and --to")
    if method is MethodName.EXTERNAL:
        return words
    return replace(words, password=ask_for_password(words.user))


def _mask_value(line: str, names: Collection[str]) -> str:
    """Return a header line, with its value masked if it is one of these headers and not empty."""
    from geomail.config.values import MASK

    name, colon, value = line.partition(":")
    return f"{name}: {MASK}" if colon and name.lower() in names and value.strip() else line
