"""From the statements of an nginx.conf to a geomail.toml, with all that is wrong or left behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from geomail.config.load import inspect_text, sort_problems
from geomail.config.nginx.defaults import find_server_with_other_ciphers, write_defaults
from geomail.config.nginx.directives import (
    BEHIND_LISTEN,
    GONE,
    MAIL,
    PROTECTING,
    SWITCH,
    Directive,
    read_number_or_text,
)
from geomail.config.nginx.logs import read_log_entries, read_log_values
from geomail.config.nginx.statements import NginxError, Statement, read
from geomail.config.nginx.write import Entry, Item, Table, write
from geomail.config.toml_text import NotUtf8
from geomail.config.units import escape_unprintable, show
from geomail.errors import Problem

_CIPHERS = (
    "has no ssl_ciphers: nginx's default, HIGH:!aNULL:!MD5, is not written; geomail's is Mozilla's "
    "intermediate list"
)
_UNKNOWN = "unknown directive"
_MAY_PROTECT = (
    "as it may be about TLS, logins or certificates, it is never left out: say what it does by geomail's "
    "options, and take it out of the nginx.conf"
)
_NO_COUNTERPART = "has no counterpart in geomail, and is left out"
_NO_UTF8 = "is not valid UTF-8, which geomail.toml has to be"
#: Blocks of the main context that are none of geomail's business.
_SKIPPED = ("http", "stream")
_LEFT_OUT = {
    "daemon": "is dropped: geomail stays in the foreground, a service manager does the rest",
    "load_module": "is left out: geomail's protocols are built in",
    "worker_rlimit_nofile": "is left out: geomail opens as many files as the system lets it (LimitNOFILE)",
    **dict.fromkeys(_SKIPPED, "is skipped: only mail {} is taken over"),
}


@dataclass(frozen=True)
class Conversion:
    """What came of an nginx.conf: a geomail.toml, None if something is wrong.

    ``problems`` holds errors and warnings, ``notes`` what was left behind
    (problems too, to be shown as notes); all by file and line of the nginx.conf.
    ``files`` are those that something was taken over from.
    """

    toml: str | None
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    files: tuple[str, ...] = ()

    @property
    def has_unknown(self) -> bool:
        """Whether an unknown directive is an error; ``lenient`` leaves it out."""
        return any(
            problem.severity == "error"
            and problem.text.startswith(_UNKNOWN)
            and not problem.text.endswith(_MAY_PROTECT)
            for problem in self.problems
        )


def convert(path: Path, *, prefix: Path | None = None, lenient: bool = False) -> Conversion:
    """Convert an nginx.conf with its includes.

    ``prefix`` is where relative names of logs start, nginx's ``-p``; default: the
    file's folder, where all other names start. ``lenient`` leaves out, with a
    warning, what is unknown in ``mail {}``, which else is an error.
    """
    path = path.absolute()
    converter = _Converter(path, (prefix or path.parent).absolute(), lenient)
    try:
        statements = read(path, _SKIPPED)
    except NginxError as error:
        problem = Problem(error.file, error.line, "", str(error))
        return Conversion(None, (problem,), ())
    return converter.convert(statements)


@dataclass
class _Converter:
    """Collects tables, problems and notes."""

    path: Path
    prefix: Path
    lenient: bool
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    logs: list[Statement] = field(default_factory=list)

    def convert(self, statements: Sequence[Statement]) -> Conversion:
        top, mail = Table(""), Table("[mail]")
        tables = [mail]
        self._read_main(statements, top, tables)
        for table in tables:
            self._check_switches(table)
            self._switch_listens(table, mail)
        log = Table(
            "[log]", entries=read_log_entries(self.logs, self.prefix, self._report_error, self._add_note)
        )
        write_defaults(top, mail, tables[1:])
        self._compare_ciphers(mail, tables[1:])
        try:
            text, origins = write(self.path, [top, log, *tables])
        except NotUtf8:
            self.problems.append(Problem(str(self.path), 0, "", f"a name in it {_NO_UTF8}"))
            text, origins = "", {}
        else:
            self._check(text, origins)
        failed = any(problem.severity == "error" for problem in self.problems)
        files = dict.fromkeys(origin.file for origin in origins.values())
        return Conversion(
            None if failed else text, sort_problems(self.problems), sort_problems(self.notes), tuple(files)
        )

    # -- levels -----------------------------------------------------------------------------------

    def _read_main(self, statements: Iterable[Statement], top: Table, tables: list[Table]) -> None:
        seen: set[str] = set()
        for statement in statements:
            name = statement.name
            if name in _ONLY_ONCE and name in seen:
                self._report_error(statement, f'"{name}" directive is duplicate')
            seen.add(name)
            if name in ("mail", "events"):
                if self._check_block(statement):
                    self._read_mail(statement, tables) if name == "mail" else self._read_events(
                        statement, top
                    )
            elif name in MAIL or name in BEHIND_LISTEN or name == "server":
                self._report_error(statement, f'"{name}" directive is not allowed here, outside of mail {{}}')
            elif name == "imap":
                self._report_error(statement, f"{_UNKNOWN} {show(name)}: {GONE[name]}")
            else:
                self._read_process_directive(statement, top)
        if "mail" not in seen:
            self.problems.append(Problem(str(self.path), 0, "", "there is no mail {} in this file"))

    def _read_process_directive(self, statement: Statement, top: Table) -> None:
        """A directive of the main context that is about processes and their log."""
        name, args = statement.name, statement.args
        if name == "error_log":
            self.logs.append(statement)
        elif name in _PROCESS:
            key, arguments, read = _PROCESS[name]
            if len(args) not in arguments:
                self._report_error(statement, f'invalid number of arguments in "{name}" directive')
            elif (value := read(args)) is not None:
                top.entries[key] = Entry([Item(value, statement)])
        elif name == "pid" and len(args) == 1:
            self._add_note(statement, f"is not taken over: geomail writes no {self.prefix / args[0]}")
        elif name in _ONE_ARGUMENT and len(args) != 1:
            self._report_error(statement, f'invalid number of arguments in "{name}" directive')
        elif name == "daemon" and args[0].lower() not in ("on", "off"):
            self._report_error(statement, f'{show(args[0])} is unknown; allowed: "on", "off"')
        else:
            self._add_note(statement, _LEFT_OUT.get(name, _NO_COUNTERPART))

    def _read_events(self, events: Statement, top: Table) -> None:
        for statement in events.block or ():
            if statement.name == "worker_connections":
                self._take(statement, _CONNECTIONS, top)
            else:
                self._add_note(statement, _NO_COUNTERPART)

    def _read_mail(self, mail: Statement, tables: list[Table]) -> None:
        tables[0].origin = mail
        for statement in mail.block or ():
            if statement.name == "server" and self._check_block(statement):
                table = Table("[[mail.server]]", statement)
                tables.append(table)
                for inner in statement.block or ():
                    self._read_option(inner, "server", table)
            elif statement.name != "server":
                self._read_option(statement, "mail", tables[0])

    def _read_option(self, statement: Statement, context: str, table: Table) -> None:
        name = statement.name
        directive = MAIL.get(name)
        if name == "error_log":
            if context == "mail":
                self.logs.insert(0, statement)
            elif read_log_values(statement, self.prefix, self._report_error) is not None:
                self._add_note(statement, "is left out: geomail has one log for all servers")
        elif name in BEHIND_LISTEN:
            self._take_switch(statement, table)
        elif directive is None:
            self._report_unknown(statement, table)
        elif context not in directive.contexts:
            self._report_error(statement, f'"{name}" directive is not allowed here')
        elif statement.block is not None:
            self._report_error(statement, f'directive "{name}" is not terminated by ";"')
        else:
            self._take(statement, directive, table)

    def _take(self, statement: Statement, directive: Directive, table: Table) -> None:
        """Give the table the values of a directive."""
        name = statement.name
        if len(statement.args) not in directive.arguments:
            self._report_error(statement, f'invalid number of arguments in "{name}" directive')
            return
        if directive.repeat == "once" and name in table.entries:
            self._report_error(statement, f'"{name}" directive is duplicate')
            return
        if not all(map(_is_utf8, statement.args)):
            self._report_error(statement, _NO_UTF8)
            return
        try:
            items = [Item(value, statement) for value in directive.read(statement.args, self.path.parent)]
        except ValueError as error:
            self._report_error(statement, str(error))
            return
        before = table.entries[name].items if directive.repeat == "all" and name in table.entries else []
        table.entries[name] = Entry([*before, *items], directive.listed)

    def _take_switch(self, statement: Statement, table: Table) -> None:
        """Take a flag that nginx had once for all addresses of a level."""
        name, own = statement.name, Table("")
        if name in table.switches:
            self._report_error(statement, f'"{name}" directive is duplicate')
            return
        self._take(statement, SWITCH, own)
        if name in own.entries:
            table.switches[name] = item = own.entries[name].items[0]
            self._add_note(
                statement,
                "is written behind each listen" if item.value else "off is dropped: it is the default",
            )

    def _switch_listens(self, table: Table, mail: Table) -> None:
        """Write behind each address of a server what is switched on for all of them."""
        for name, word in BEHIND_LISTEN.items():
            switch = table.switches.get(name) or mail.switches.get(name)
            if switch is not None and switch.value and "listen" in table.entries:
                items = [_add_word(item, word) for item in table.entries["listen"].items]
                table.entries["listen"] = Entry(items)

    def _check_switches(self, level: Table) -> None:
        """Report ``ssl on`` beside STARTTLS, as nginx did while it had ``ssl``."""
        ssl, starttls = level.switches.get("ssl"), level.entries.get("starttls")
        if ssl and ssl.value and starttls and str(starttls.items[0].value).lower() != "off":
            assert isinstance(ssl.origin, Statement)
            self._report_error(ssl.origin, '"ssl on" conflicts with "starttls": leave one of them out')

    def _report_unknown(self, statement: Statement, table: Table) -> None:
        text = f"{_UNKNOWN} {show(statement.name)}"
        if statement.name in GONE:
            text += f": {GONE[statement.name]}"
        if PROTECTING.search(statement.name):
            self._report_error(statement, f"{text}; {_MAY_PROTECT}")
        elif self.lenient:
            table.left_out.append(statement)
            self._add_problem(statement, f"{text}; left out", "warning")
        else:
            self._report_error(statement, text)

    # -- the whole --------------------------------------------------------------------------------

    def _compare_ciphers(self, mail: Table, servers: Sequence[Table]) -> None:
        server = find_server_with_other_ciphers(mail, servers)
        if server is not None and server.origin is not None:
            self._add_note(server.origin, _CIPHERS)

    def _check(self, text: str, origins: dict[int, Statement]) -> None:
        """Find what the options themselves have to say of their values."""
        for problem in inspect_text(text, self.path).problems:
            origin = origins.get(problem.line)
            if origin is not None:
                self._add_problem(origin, problem.text, problem.severity)
            elif not any(found.severity == "error" for found in self.problems):
                self.problems.append(Problem(str(self.path), 0, problem.key, problem.text, problem.severity))

    def _check_block(self, statement: Statement) -> bool:
        if statement.block is None:
            self._report_error(statement, f'directive "{statement.name}" has no opening "{{"')
        elif statement.args:
            self._report_error(statement, f'invalid number of arguments in "{statement.name}" directive')
        return statement.block is not None

    def _report_error(self, statement: Statement, text: str) -> None:
        self._add_problem(statement, text, "error")

    def _add_note(self, statement: Statement, text: str) -> None:
        self.notes.append(
            Problem(statement.file, statement.line, escape_unprintable(statement.name), text, "warning")
        )

    def _add_problem(self, statement: Statement, text: str, severity: Literal["error", "warning"]) -> None:
        name = escape_unprintable(statement.name)
        self.problems.append(Problem(statement.file, statement.line, name, text, severity))


def _is_utf8(text: str) -> bool:
    """Whether a text that was read is one; bytes that are none are surrogates in it."""
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _add_word(item: Item, word: str) -> Item:
    """The value of a ``listen`` with a word behind it, unless it has it, or says otherwise."""
    name = word.partition("=")[0]
    if any(given.partition("=")[0] == name for given in item.value.split()[1:]):
        return item
    return Item(f"{item.value} {word}", item.origin)


def _convert_user(args: tuple[str, ...]) -> str:
    """In nginx the group's default is the one that has the user's name."""
    return f"{args[0]}:{args[-1]}"


def _convert_limit(args: tuple[str, ...]) -> str | None:
    """In nginx 0 is no limit, as is no directive."""
    return None if re.fullmatch(r"0+(ms|s)?", args[0]) else args[0]


#: What directives of the main context become: key, number of arguments, value (None: there is none).
_PROCESS: dict[str, tuple[str, range, Callable[[tuple[str, ...]], int | str | None]]] = {
    "user": ("user", range(1, 3), _convert_user),
    "worker_processes": ("workers", range(1, 2), read_number_or_text),
    "worker_shutdown_timeout": ("worker_shutdown_timeout", range(1, 2), _convert_limit),
}
_ONE_ARGUMENT = frozenset({"pid", "daemon", "worker_rlimit_nofile", "load_module"})
_ONLY_ONCE = frozenset({"mail", "events", "pid", "daemon", "worker_rlimit_nofile", *_PROCESS})
_CONNECTIONS = MAIL["max_errors"]
