"""What `ngx plans`, `tenants`, `flags`, `budgets` and `stops` have in common: controls, directly in the journal.

The flags of `set` are made from the fields of the kind's document; what is not named stays as it is. Every change is
logged as made by the user of this machine. A running server follows within seconds.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from ngx_agents.cli.flags import add_config_flags
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, NotFound
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.admin.controls import shown
from ngx_agents.gateway.principal import OPERATOR, Principal
from ngx_agents.state.commands import PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.controls import DOCUMENTS, Document, check_name
from ngx_agents.state.governance import ControlKind
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics

NamedBy = Callable[[argparse.Namespace], str]


def operator_here() -> Principal:
    """Who acts on this machine, for the audit log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return Principal(Owner("cli", user), frozenset({OPERATOR}))


def add_control_actions(actions: Any, kind: ControlKind, *, word: str = "", named: NamedBy | None = None) -> None:
    """Adds `list`, `set` and `remove` (with `word` behind them) of a kind. `named` makes the name of the arguments."""
    listing = actions.add_parser(f"list{word}", help=f"print every {kind}")
    listing.set_defaults(action=partial(_list, kind))
    setting = actions.add_parser(f"set{word}", help=f"make or change a {kind}; what is not named stays as it is")
    removing = actions.add_parser(f"remove{word}", help=f"remove a {kind}")
    for action in (setting, removing):
        if kind == "account":
            action.add_argument("tenant", help="the customer")
            action.add_argument("user", help="the user")
        else:
            action.add_argument("name", help=f"the {kind}'s name")
    for field, hint in _fields(kind):
        setting.add_argument(f"--{field.replace('_', '-')}", dest=f"field_{field}", metavar=_metavar(hint))
    named = named or (lambda args: str(args.name))
    setting.set_defaults(action=partial(_set, kind, named))
    removing.set_defaults(action=partial(_remove, kind, named))
    for action in (listing, setting, removing):
        add_config_flags(action, "server.data_dir")


async def _list(kind: ControlKind, args: argparse.Namespace, journal: Journal) -> int:
    found = await _known(kind, journal)
    fields = [field for field, _ in _fields(kind)]
    rows = [(shown(name), *(_cell(getattr(one, field)) for field in fields)) for name, one in sorted(found.items())]
    print(table((kind, *fields), rows))
    return 0


async def _set(kind: ControlKind, named: NamedBy, args: argparse.Namespace, journal: Journal) -> int:
    name = check_name(kind, named(args))
    before = (await _known(kind, journal)).get(name)
    values: dict[str, Any] = {} if before is None else msgspec.to_builtins(before)
    for field, hint in _fields(kind):
        given = getattr(args, f"field_{field}")
        if given is not None:
            values[field] = _value(given, hint)
    try:
        document = msgspec.convert(values, DOCUMENTS[kind], strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{kind} {shown(name)}: {error}") from error
    await _change(kind, name, journal, document)
    print(f"{kind} {shown(name)} is set")
    return 0


async def _remove(kind: ControlKind, named: NamedBy, args: argparse.Namespace, journal: Journal) -> int:
    name = check_name(kind, named(args))
    if name not in await _known(kind, journal):
        raise NotFound(f"there is no {kind} {shown(name)}")
    await _change(kind, name, journal, None)
    print(f"{kind} {shown(name)} is removed")
    return 0


async def _known(kind: ControlKind, journal: Journal) -> dict[str, Document]:
    board = ControlBoard(journal, clock=SystemClock(), metrics=Metrics())
    await board.refresh()
    return board.all_of(DOCUMENTS[kind])


async def _change(kind: ControlKind, name: str, journal: Journal, document: Document | None) -> None:
    """Raises NgxError of the journal."""
    clock = SystemClock()
    await AuditTrail(journal, Ids(clock), clock).change(
        operator_here(),
        f"{kind}.{'remove' if document is None else 'put'}",
        f"{kind}/{shown(name)}",
        command=PutControl(
            kind=kind, id=name, body=b"" if document is None else msgspec.json.encode(document), now=clock.now_s()
        ),
        after=None if document is None else msgspec.to_builtins(document),
    )


def _fields(kind: ControlKind) -> list[tuple[str, Any]]:
    document = DOCUMENTS[kind]
    hints = get_type_hints(document)
    return [(field, hints[field]) for field in document.__struct_fields__]


def _metavar(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "|".join(get_args(hint))
    return "yes|no" if bool in (hint, *get_args(hint)) else "A,B" if _is_list(hint) else "VALUE"


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is tuple


def _value(given: str, hint: Any) -> Any:
    """`none` takes a value away; lists are separated by commas."""
    if given == "none":
        return None
    if _is_list(hint):
        return [part for part in given.split(",") if part]
    if bool in (hint, *get_args(hint)):
        return {"yes": True, "no": False}.get(given, given)
    return given


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
