"""The Typer app. gevent patches the standard library before any other import."""

from gevent import monkey

monkey.patch_all()

from typing import Annotated

import typer

from geomail.build import describe_build
from geomail_cli import interrupts
from geomail_cli.check_auth import check_auth
from geomail_cli.check_config import check_config
from geomail_cli.hash_password import hash_password
from geomail_cli.import_nginx import import_nginx
from geomail_cli.kick import kick
from geomail_cli.preview_handshake import preview_handshake
from geomail_cli.reload import reload
from geomail_cli.serve import serve
from geomail_cli.status import status
from geomail_cli.tail import tail
from geomail_cli.trace import trace
from geomail_cli.who import who

app = typer.Typer(
    name="geomail",
    help="An SMTP, IMAP and POP3 proxy: one front door, many mail servers behind it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve)
app.command("check-config")(check_config)
app.command("import-nginx")(import_nginx)
app.command("check-auth")(check_auth)
app.command("hash-password")(hash_password)
app.command("preview-handshake")(preview_handshake)
app.command("tail")(tail)
app.command("trace")(trace)
app.command("who")(who)
app.command("kick")(kick)
app.command("status")(status)
app.command("reload")(reload)


def _print_version(is_given: bool) -> None:
    if is_given:
        typer.echo(describe_build())
        raise typer.Exit


@app.callback()
def geomail(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and the build, and exit.",
        ),
    ] = False,
) -> None:
    """Prepare every command; --version ends here."""
    interrupts.catch_ctrl_c()
