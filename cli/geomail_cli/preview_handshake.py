"""``geomail preview-handshake``: the dialogue with a backend, with the reason for each line."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from geomail_cli import output
from geomail_cli.error_reports import load_configuration, report_errors
from geomail_cli.login_options import LoginOptions
from geomail_cli.option_groups import ConfigOption, JsonOption, spread_groups
from geomail_cli.passwords import ask_for_password

if TYPE_CHECKING:
    from rich.console import Console

    from geomail.preview.handshake import Ending, Scene, Step
    from geomail.preview.plan import Preview, PreviewRequest


@dataclass(frozen=True)
class BackendOptions:
    """The options about the backend of a preview."""

    backend: Annotated[
        str | None,
        typer.Option(
            "--backend", metavar="NAME|ADDRESS", help="Backend (default: asked of the auth source)."
        ),
    ] = None
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="KEYWORD", help="EHLO keyword that the backend does not offer."),
    ] = None
    offers: Annotated[
        list[str] | None,
        typer.Option("--offers", metavar="TEXT", help='Offer of the backend, like "XCLIENT NAME ADDR".'),
    ] = None
    live: Annotated[bool, typer.Option("--live", help="Use the real auth source and backend.")] = False


@spread_groups
def preview_handshake(
    login: LoginOptions, backend: BackendOptions, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show what geomail says to a backend, and why.

    Without --live, geomail connects to no server: it imagines a backend that
    accepts everything. With --live it talks to the real backend, up to the last
    step before the backend would accept mail; without --password-file it asks
    for the password. Passwords are masked.

    Exit status: 0 the handshake succeeds, 1 it fails, 2 wrong usage.
    """
    from geomail.preview.plan import Preview

    request = _make_request(login, backend)
    with report_errors():
        preview = Preview(load_configuration(config), request)
        if preview.lacks_password:
            preview.give_password(ask_for_password(login.user or ""))
    with closing(preview):
        ending = _print_json(preview) if as_json else _print_listing(preview)
    if ending.outcome != "ok":
        raise typer.Exit(1)


def _make_request(login: LoginOptions, backend: BackendOptions) -> PreviewRequest:
    from geomail.preview.plan import PreviewRequest

    return PreviewRequest(
        words=login.make_words(),
        server=login.server,
        protocol=login.protocol,
        client=login.client,
        client_name=login.client_name,
        backend=backend.backend,
        without=tuple(backend.without or ()),
        offers=tuple(backend.offers or ()),
        live=backend.live,
    )


def _print_json(preview: Preview) -> Ending:
    from geomail.preview.handshake import Ending

    steps: list[Step] = []
    scene = preview.admit()
    if isinstance(scene, Ending):
        ending, backend, notes = scene, None, []
    else:
        ending = preview.run(scene, steps.append)
        backend, notes = scene.endpoint, list(preview.notes(scene))
    result = {
        "server": preview.server.name,
        "protocol": preview.server.protocol,
        "client": preview.client.address,
        "backend": backend.full_label if backend else None,
        "live": preview.request.live,
        **{key: getattr(ending, key) for key in ("outcome", "step", "reason", "answer")},
        "notes": [*notes, *ending.notes],
        "hints": ending.hints,
        "steps": [{"from": step.sender, "line": step.line, "because": step.because} for step in steps],
    }
    typer.echo(json.dumps(result, indent=2))
    return ending


def _print_listing(preview: Preview) -> Ending:
    from geomail.preview.handshake import Ending

    console = output.make_result_console()
    heading = f"{preview.server.protocol} server {preview.server.name}, client {preview.client.address}"
    output.show_heading(console, heading)
    scene = preview.admit()
    ending = scene if isinstance(scene, Ending) else _print_dialogue(console, preview, scene)
    for note in ending.notes:
        output.show_note(console, note)
    for hint in ending.hints:
        output.show_note(console, hint, "hint")
    output.show_summary(console, _summarize(ending, preview.request.live), failed=ending.outcome != "ok")
    return ending


def _print_dialogue(console: Console, preview: Preview, scene: Scene) -> Ending:
    from geomail_cli.dialogue_listing import DialogueListing

    if scene.endpoint:
        kind = "live" if preview.request.live else "imagined"
        output.show_heading(console, f"backend {scene.endpoint.full_label}, {kind}")
    for note in preview.notes(scene):
        output.show_note(console, note)
    with DialogueListing(console, merges=True) as listing:
        return preview.run(scene, lambda step: listing.add_row(step.sender, step.line, step.because))


def _summarize(ending: Ending, live: bool) -> str:
    if ending.outcome == "ok":
        verb = "succeeds" if live else "would succeed"
        return f"the handshake {verb}; the client would get {ending.answer[-1]}"
    step = f" at {ending.step}" if ending.step else ""
    return f"the handshake {'fails' if live else 'would fail'}{step}: {ending.reason}"
