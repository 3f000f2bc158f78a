"""Conversion of an nginx.conf's statements into a geomail.toml, with reports of what is wrong or left out."""

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
    explain_count,
    read_number_or_text,
)
from geomail.config.nginx.logs import read_log_entries, read_log_values
from geomail.config.nginx.statements import NginxError, Statement, read
from geomail.config.nginx.write import Entry, Item, Table, write
from geomail.config.toml_text import NotUtf8
from geomail.config.units import escape_unprintable, show
from geomail.errors import Problem

_CIPHERS = (
    "has no ssl_ciphers: geomail uses its own default, Mozilla's intermediate list, not nginx's, "
    "HIGH:!aNULL:!MD5"
)
_UNKNOWN = "unknown directive"
_TWICE = "is given twice here; remove one"
_MAY_PROTECT = (
    "it may be about TLS, logins or certificates, so it is never left out: "
    "remove it from the nginx.conf, and set the matching options of geomail"
)
_NO_COUNTERPART = "is left out: geomail has no such option"
_NO_UTF8 = "is not valid UTF-8, but geomail.toml must be; rename it"
#: Blocks of the main context that do not concern geomail.
_SKIPPED = ("http", "stream")
_LEFT_OUT = {
    "daemon": "is left out: geomail stays in the foreground, and a service manager does the rest",
    "load_module": "is left out: geomail has its protocols built in",
    "worker_rlimit_nofile": "is left out: geomail opens as many files as the system permits (LimitNOFILE)",
    **dict.fromkeys(_SKIPPED, "is left out: geomail converts only mail {}"),
}


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion: a geomail.toml, None if something is wrong.

    ``problems`` are errors and warnings, ``notes`` tell what is left out (they
    are Problems too). All name the file and line of the nginx.conf. ``files``
    are the files that gave a value.
    """

    toml: str | None
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    files: tuple[str, ...] = ()

    @property
    def has_unknown(self) -> bool:
        """True if an unknown directive is an error that ``lenient`` would avoid."""
        return any(
            problem.severity == "error"
            and problem.text.startswith(_UNKNOWN)
            and not problem.text.endswith(_MAY_PROTECT)
            for problem in self.problems
        )


def convert(path: Path, *, prefix: Path | None = None, lenient: bool = False) -> Conversion:
    """Convert an nginx.conf with its includes.

    ``prefix`` is the folder of relative names of logs, nginx's ``-p``. Default: the
    file's folder, in which all other names start. An unknown directive in
    ``mail {}`` is an error; ``lenient`` leaves it out with a warning.
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
    """A conversion under way: its problems, notes and logs."""

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
                self._report_error(statement, _TWICE)
            seen.add(name)
            if name in ("mail", "events"):
                if self._check_block(statement):
                    self._read_mail(statement, tables) if name == "mail" else self._read_events(
                        statement, top
                    )
            elif name in MAIL or name in BEHIND_LISTEN or name == "server":
                self._report_error(statement, "is not allowed here; move it into mail {}")
            elif name == "imap":
                self._report_error(statement, f"{_UNKNOWN} {show(name)}: {GONE[name]}")
            else:
                self._read_process_directive(statement, top)
        if "mail" not in seen:
            self.problems.append(
                Problem(
                    str(self.path), 0, "", "there is no mail {} in this file; add it, or use another file"
                )
            )

    def _read_process_directive(self, statement: Statement, top: Table) -> None:
        """Read a directive of the main context about processes or their log."""
        name, args = statement.name, statement.args
        if name == "error_log":
            self.logs.append(statement)
        elif name in _PROCESS:
            key, arguments, read = _PROCESS[name]
            if len(args) not in arguments:
                self._report_error(statement, explain_count(len(args), arguments))
            elif (value := read(args)) is not None:
                top.entries[key] = Entry([Item(value, statement)])
        elif name == "pid" and len(args) == 1:
            self._add_note(statement, f"is left out: geomail does not write {self.prefix / args[0]}")
        elif name in _ONE_ARGUMENT and len(args) != 1:
            self._report_error(statement, explain_count(len(args), range(1, 2)))
        elif name == "daemon" and args[0].lower() not in ("on", "off"):
            self._report_error(statement, f'must be "on" or "off", not {show(args[0])}')
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
            self._report_error(statement, "is not allowed here; move it into server {}")
        elif statement.block is not None:
            self._report_error(statement, 'must end with ";", not with a block')
        else:
            self._take(statement, directive, table)

    def _take(self, statement: Statement, directive: Directive, table: Table) -> None:
        """Give the table the values of a directive."""
        name = statement.name
        if len(statement.args) not in directive.arguments:
            self._report_error(statement, explain_count(len(statement.args), directive.arguments))
            return
        if directive.repeat == "once" and name in table.entries:
            self._report_error(statement, _TWICE)
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
        """Take a flag that old versions of nginx had for all addresses of a level."""
        name, own = statement.name, Table("")
        if name in table.switches:
            self._report_error(statement, _TWICE)
            return
        self._take(statement, SWITCH, own)
        if name in own.entries:
            table.switches[name] = item = own.entries[name].items[0]
            self._add_note(
                statement,
                "is written after each listen" if item.value else "off is left out: it is the default",
            )

    def _switch_listens(self, table: Table, mail: Table) -> None:
        """Add the flags that are on for all addresses of a server to each of them."""
        for name, word in BEHIND_LISTEN.items():
            switch = table.switches.get(name) or mail.switches.get(name)
            if switch is not None and switch.value and "listen" in table.entries:
                items = [_add_word(item, word) for item in table.entries["listen"].items]
                table.entries["listen"] = Entry(items)

    def _check_switches(self, level: Table) -> None:
        """Report ``ssl on`` together with STARTTLS, as nginx did while it had ``ssl``."""
        ssl, starttls = level.switches.get("ssl"), level.entries.get("starttls")
        if ssl and ssl.value and starttls and str(starttls.items[0].value).lower() != "off":
            assert isinstance(ssl.origin, Statement)
            self._report_error(ssl.origin, '"ssl on" conflicts with "starttls"; remove one of them')

    def _report_unknown(self, statement: Statement, table: Table) -> None:
        text = f"{_UNKNOWN} {show(statement.name)}"
        if statement.name in GONE:
            text += f": {GONE[statement.name]}"
        if PROTECTING.search(statement.name):
            self._report_error(statement, f"{text}; {_MAY_PROTECT}")
        elif self.lenient:
            table.left_out.append(statement)
            self._add_problem(statement, f"{text}; it is left out", "warning")
        else:
            self._report_error(statement, text)

    # -- the whole --------------------------------------------------------------------------------

    def _compare_ciphers(self, mail: Table, servers: Sequence[Table]) -> None:
        server = find_server_with_other_ciphers(mail, servers)
        if server is not None and server.origin is not None:
            self._add_note(server.origin, _CIPHERS)

    def _check(self, text: str, origins: dict[int, Statement]) -> None:
        """Check the values as check-config does, and report problems at their statements."""
        for problem in inspect_text(text, self.path).problems:
            origin = origins.get(problem.line)
            if origin is not None:
                self._add_problem(origin, problem.text, problem.severity)
            elif not any(found.severity == "error" for found in self.problems):
                self.problems.append(Problem(str(self.path), 0, problem.key, problem.text, problem.severity))

    def _check_block(self, statement: Statement) -> bool:
        if statement.block is None:
            self._report_error(statement, 'must have a block: add "{ … }"')
        elif statement.args:
            self._report_error(statement, "must have no argument before its block")
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
    """Tell whether a text was valid UTF-8: other bytes are surrogates in it."""
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _add_word(item: Item, word: str) -> Item:
    """Add a parameter to the value of a ``listen``, unless it sets the parameter itself."""
    name = word.partition("=")[0]
    if any(given.partition("=")[0] == name for given in item.value.split()[1:]):
        return item
    return Item(f"{item.value} {word}", item.origin)


def _convert_user(args: tuple[str, ...]) -> str:
    """Return user and group: nginx's default is the group with the user's name."""
    return f"{args[0]}:{args[-1]}"


def _convert_limit(args: tuple[str, ...]) -> str | None:
    """Return the limit, None for 0: in nginx, 0 means no limit."""
    return None if re.fullmatch(r"0+(ms|s)?", args[0]) else args[0]


#: The directives of the main context: key, number of arguments, and value (None for none).
_PROCESS: dict[str, tuple[str, range, Callable[[tuple[str, ...]], int | str | None]]] = {
    "user": ("user", range(1, 3), _convert_user),
    "worker_processes": ("workers", range(1, 2), read_number_or_text),
    "worker_shutdown_timeout": ("worker_shutdown_timeout", range(1, 2), _convert_limit),
}
_ONE_ARGUMENT = frozenset({"pid", "daemon", "worker_rlimit_nofile", "load_module"})
_ONLY_ONCE = frozenset({"mail", "events", "pid", "daemon", "worker_rlimit_nofile", *_PROCESS})
_CONNECTIONS = MAIL["max_errors"]
