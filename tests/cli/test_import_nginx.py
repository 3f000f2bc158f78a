import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from geomail_cli.main import app

SOUND = """\
pid /run/nginx.pid;
mail {
  auth_http 127.0.0.1:9000;
  server { listen 127.0.0.1:143; }
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "nginx.conf"


def run(file: Path, text: str, *options: str) -> Result:
    file.write_text(text)
    return CliRunner().invoke(app, ["import-nginx", str(file), *options])


def checked(file: Path) -> int:
    return CliRunner().invoke(app, ["check-config", "--strict", "-c", str(file)]).exit_code


def test_a_file_is_written_that_can_be_used(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "geomail.toml"
    result = run(file, SOUND, "-o", str(target))

    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"note: {file}:1: pid is left out: geomail does not write /run/nginx.pid",
        f"geomail: {target} is written (1 note)",
    ]
    assert checked(target) == 0


def test_once_more_gives_the_same(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "geomail.toml"
    run(file, SOUND, "-o", str(target))
    first = target.read_bytes()
    run(file, SOUND, "-o", str(target))

    assert target.read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["geomail.toml", "nginx.conf"]


def test_without_a_name_it_goes_to_standard_output(file: Path, tmp_path: Path) -> None:
    result = run(file, SOUND)
    (tmp_path / "geomail.toml").write_text(result.stdout)

    assert result.exit_code == 0
    assert checked(tmp_path / "geomail.toml") == 0


def test_what_is_wrong_leaves_the_target_alone(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "geomail.toml"
    target.write_text("old")
    result = run(file, SOUND.replace("server {", "\n  limit_rate 5;\n  server {"), "-o", str(target))

    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [
        f'{file}:5: error: limit_rate: unknown directive "limit_rate"',
        "hint: --lenient leaves out unknown directives",
        f"geomail: {file} cannot be converted (1 error, 1 note)",
    ]
    assert target.read_text() == "old"


def test_lenient(file: Path) -> None:
    result = run(file, SOUND.replace("server {", "limit_rate 5; server {"), "--lenient")

    assert result.exit_code == 0
    assert f'{file}:4: warning: limit_rate: unknown directive "limit_rate"; it is left out' in result.stderr
    assert re.search(r"^# limit_rate 5; +# nginx.conf:4$", result.stdout, re.MULTILINE)


def test_the_prefix(file: Path) -> None:
    result = run(file, "error_log logs/e;" + SOUND, "--prefix", "/srv/nginx")

    assert 'target = "/srv/nginx/logs/e"' in result.stdout


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_whoever_may_not_read_the_one_may_not_read_the_other(file: Path, tmp_path: Path, mode: int) -> None:
    file.touch()
    file.chmod(mode)
    target = tmp_path / "geomail.toml"
    run(file, SOUND, "-o", str(target))

    assert target.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o640, 0o640), (0o604, 0o604)])
def test_a_secret_that_is_included_stays_one(file: Path, tmp_path: Path, mode: int, expected: int) -> None:
    secret = tmp_path / "secret.conf"
    secret.write_text("auth_http_header X-Key s3cret;\n")
    secret.chmod(mode)
    file.touch(0o644)
    target = tmp_path / "geomail.toml"
    run(file, SOUND.replace("server {", "include secret.conf; server {"), "-o", str(target))

    assert "s3cret" in target.read_text()
    assert target.stat().st_mode & 0o777 == expected


def test_lenient_is_no_hint_where_it_does_not_help(file: Path) -> None:
    text = SOUND.replace("server {", "limit_rate 5; timeout x; server {")

    assert "hint: " in run(file, text).stderr
    assert "hint: " not in run(file, text, "--lenient").stderr


def test_a_target_that_cannot_be_written(file: Path, tmp_path: Path) -> None:
    result = run(file, SOUND, "-o", str(tmp_path / "missing" / "geomail.toml"))

    assert result.exit_code == 1
    assert "cannot be written: No such file or directory" in result.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import-nginx", str(tmp_path / "gone")])

    assert result.exit_code == 1
    assert "cannot be read: No such file or directory" in result.stderr


def test_nothing_of_the_file_can_steer_the_terminal(file: Path) -> None:
    result = run(file, "ev\x1bil;" + SOUND.replace("server {", "b\x1b[31mad x; server {"))

    assert result.exit_code == 1
    assert "\x1b" not in result.stderr
