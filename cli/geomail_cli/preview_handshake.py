"""``geomail preview-handshake``: what geomail would say to a backend, and why, line by line."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from geomail_cli import given, render

if TYPE_CHECKING:
    from geomail.preview.handshake import Ending, Step
    from geomail.preview.plan import Preview


def preview_handshake(
    config: given.ConfigFile = None,
    server: given.ServerChoice = None,
    protocol: given.ProtocolChoice = None,
    client: given.Client = None,
    client_name: given.ClientName = None,
    ehlo: given.Ehlo = None,
    helo: given.Helo = None,
    user: given.User = None,
    password_file: given.PasswordFile = None,
    sender: given.Sender = None,
    recipient: given.Recipient = None,
    backend: Annotated[
        str | None,
        typer.Option(metavar="NAME|ADDRESS", help="The backend, so that nobody is asked for it."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="KEYWORD", help="An EHLO keyword that the backend does not offer."),
    ] = None,
    offers: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help='What the backend offers: "XCLIENT NAME ADDR", say.'),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Speak to the real auth source and backend, then say goodbye.")
    ] = False,
    as_json: given.AsJson = False,
) -> None:
    """Show what geomail says to a backend for a client, and what it expects back.

    Nobody is spoken to: the backend is imagined, and willing. With --live it
    is the real one, up to the last step before it would accept mail; the
    password is asked for if there is no --password-file. Passwords are masked.

    Exit status: 0 the handshake succeeds, 1 it fails, 2 wrong usage.
    """
    from geomail.preview.plan import Preview, PreviewRequest

    words = given.words(
        ehlo=ehlo,
        helo=helo,
        user=user,
        password_file=password_file,
        sender=sender,
        recipient=recipient,
    )
    request = PreviewRequest(
        words=words,
        server=server,
        protocol=protocol,
        client=client,
        client_name=client_name,
        backend=backend,
        without=tuple(without or ()),
        offers=tuple(offers or ()),
        live=live,
    )
    with given.usage():
        preview = Preview(given.configuration(config), request)
        if preview.lacks_password:
            preview.give_password(given.password_prompted(user or ""))
    with closing(preview):
        ending = _as_json(preview) if as_json else _on_screen(preview)
    if ending.outcome != "ok":
        raise typer.Exit(1)


def _as_json(preview: Preview) -> Ending:
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
        "backend": backend.described if backend else None,
        "live": preview.request.live,
        "outcome": ending.outcome,
        "step": ending.step,
        "reason": ending.reason,
        "answer": ending.answer,
        "notes": [*notes, *ending.notes],
        "hints": ending.hints,
        "steps": [{"from": step.sender, "line": step.line, "because": step.because} for step in steps],
    }
    typer.echo(json.dumps(result, indent=2))
    return ending


def _on_screen(preview: Preview) -> Ending:
    from geomail.preview.handshake import Ending
    from geomail_cli.listing import Listing

    console = render.stdout()
    render.show_heading(
        console, f"{preview.server.protocol} server {preview.server.name}, client {preview.client.address}"
    )
    scene = preview.admit()
    if isinstance(scene, Ending):
        ending = scene
    else:
        if scene.endpoint:
            how = "live" if preview.request.live else "rehearsed"
            render.show_heading(console, f"backend {scene.endpoint.described}, {how}")
        for note in preview.notes(scene):
            render.show_note(console, note)
        with Listing(console, merges=True) as listing:
            ending = preview.run(scene, lambda step: listing.row(step.sender, step.line, step.because))
    for note in ending.notes:
        render.show_note(console, note)
    for hint in ending.hints:
        render.show_note(console, hint, "hint")
    render.show_verdict(console, _verdict(ending, preview.request.live), failed=ending.outcome != "ok")
    return ending


def _verdict(ending: Ending, live: bool) -> str:
    if ending.outcome == "ok":
        verb = "succeeds" if live else "would succeed"
        return f"the handshake {verb}; the client would get {ending.answer[-1]}"
    step = f" at {ending.step}" if ending.step else ""
    return f"the handshake {'fails' if live else 'would fail'}{step}: {ending.reason}"
