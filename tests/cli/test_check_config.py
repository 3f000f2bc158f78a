import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from geomail.build import describe_build
from geomail_cli.main import app

SOUND = """\
[mail]
auth_http = "http://127.0.0.1:9000"
[[mail.server]]
listen = "127.0.0.1:143"
[[mail.server]]
listen = "127.0.0.1:110"
"""
UNWISE = SOUND.replace("[mail]", "[mail]\nmax_errors = 0")
WRONG = SOUND.replace("[mail]", '[mail]\ntimeuot = "60s"\nmax_errors = 0')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "geomail.toml"


def run(file: Path, text: str, *options: str) -> Result:
    file.write_text(text)
    return CliRunner().invoke(app, ["check-config", "-c", str(file), *options])


def test_a_sound_configuration(file: Path) -> None:
    result = run(file, SOUND)

    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == f"geomail: configuration {file} is ok (2 servers)\n"


def test_a_warning_does_no_harm(file: Path) -> None:
    result = run(file, UNWISE)

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"{file}:2: warning: mail.max_errors: 0 does not mean no limit: "
        "the first error closes the session, as with 1; write a larger number",
        f"geomail: configuration {file} is ok (2 servers, 1 warning)",
    ]


def test_an_error_fails(file: Path) -> None:
    result = run(file, WRONG)

    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[0] == f"{file}:2: error: mail.timeuot: unknown key; did you mean timeout?"
    )
    assert result.stderr.splitlines()[-1] == f"geomail: configuration {file} is not ok (1 error, 1 warning)"


def test_the_machine_is_asked_too(file: Path) -> None:
    result = run(
        file, SOUND.replace(":143", ':993 ssl"\nssl_certificate = "c"\nssl_certificate_key = "k"\nname = "x')
    )

    assert result.exit_code == 1
    assert f'ssl_certificate: "{file.parent}/c" cannot be read: No such file or directory' in result.stderr


@pytest.mark.parametrize(
    ("text", "options", "code", "lines"),
    [
        (SOUND, ["-q"], 0, 0),
        (UNWISE, ["-q"], 0, 0),
        (WRONG, ["-q"], 1, 2),
        (SOUND, ["--strict"], 0, 1),
        (UNWISE, ["--strict"], 1, 2),
        (UNWISE, ["--strict", "--quiet"], 1, 2),
        (WRONG, ["--strict", "-q"], 1, 3),
    ],
)
def test_strict_and_quiet(file: Path, text: str, options: list[str], code: int, lines: int) -> None:
    result = run(file, text, *options)

    assert (result.exit_code, len(result.stderr.splitlines())) == (code, lines), result.stderr


def test_json(file: Path) -> None:
    result = run(file, WRONG, "--json")

    assert result.exit_code == 1
    assert result.stderr == ""
    assert json.loads(result.stdout) == {
        "file": str(file),
        "ok": False,
        "servers": 2,
        "problems": [
            {
                "file": str(file),
                "line": 2,
                "key": "mail.timeuot",
                "text": "unknown key; did you mean timeout?",
                "severity": "error",
            },
            {
                "file": str(file),
                "line": 3,
                "key": "mail.max_errors",
                "text": "0 does not mean no limit: the first error closes the session, as with 1; "
                "write a larger number",
                "severity": "warning",
            },
        ],
    }


def test_dump(file: Path) -> None:
    result = run(file, SOUND.replace("[[", 'auth_http_header = { X-Key = "s3cret" }\n[[', 1), "--dump")

    assert result.exit_code == 0
    assert result.stdout.count("[[mail.server]]") == 2
    assert "s3cret" not in result.stdout
    assert "is ok (2 servers)" in result.stderr


def test_no_dump_of_what_cannot_be_used(file: Path) -> None:
    result = run(file, WRONG, "--dump")

    assert (result.exit_code, result.stdout) == (1, "")


@pytest.mark.parametrize("options", [["--dump", "--json"], ["--nonsense"], ["file.toml"], ["-c"]])
def test_wrong_usage(options: list[str]) -> None:
    assert CliRunner().invoke(app, ["check-config", *options]).exit_code == 2


def test_no_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check-config", "-c", str(tmp_path / "none")])

    assert result.exit_code == 1
    assert (
        result.stderr.splitlines()[0]
        == f"{tmp_path / 'none'}: error: cannot be read: No such file or directory"
    )


def test_a_name_that_is_no_text_cannot_be_dumped(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    result = run(folder / "geomail.toml", SOUND + 'ssl_crl = "crl.pem"\n', "--dump")

    assert result.exit_code == 2
    assert "not valid UTF-8 (byte E9)" in " ".join(result.stderr.replace("│", " ").split())


def test_the_environment_names_the_file(file: Path) -> None:
    file.write_text(SOUND)
    result = CliRunner().invoke(app, ["check-config"], env={"GEOMAIL_CONFIG": str(file)})

    assert result.exit_code == 0
    assert str(file) in result.stderr


def test_nothing_from_the_file_is_taken_for_an_order(tmp_path: Path) -> None:
    file = tmp_path / "[red]\x1b[31mgeomail.toml"
    result = run(file, '[mail]\nxclient = "[bold]\\u001b[31m"\n"[/red]" = 1\n')

    assert result.exit_code == 1
    assert "\x1b" not in result.stderr
    assert "[red]\\x1b[31mgeomail.toml" in result.stderr
    assert 'not "[bold]\\u001b[31m"' in result.stderr
    assert 'mail."[/red]": unknown key' in result.stderr


def test_long_lines_stay_whole(file: Path) -> None:
    result = run(file, SOUND.replace("[mail]", f'[mail]\nserver_name = "{"x " * 200}"'))

    assert len(result.stderr.splitlines()) == 2


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])

    assert (result.exit_code, result.stdout) == (0, f"{describe_build()}\n")


def test_the_command_loads_no_session(file: Path) -> None:
    file.write_text(SOUND)
    code = """
import sys
from geomail_cli.main import app
try:
    app()
finally:
    serving = {"session.flow", "process.worker", "process.master", "net.wire"}
    print(*{f"geomail.{name}" for name in serving} & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "check-config", "-q", "-c", str(file)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
