"""What one setting is: its name, type, default, line of help, environment names, and whether it is secret.

Settings are declared as annotated fields of the section Structs in `app.config_sections` and read back from
there, so that files, variables, flags, messages and the generated page all speak of the same list.
"""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

MASK = "••••••"


def setting(
    help_text: str,
    *,
    env: str | None = None,
    fallback_env: str | None = None,
    flag: str | None = None,
    secret: bool = False,
    bounds: tuple[float, float] | None = None,
) -> msgspec.Meta:
    """The annotation of a field. `bounds` are inclusive."""
    extra = {"env": env, "fallback_env": fallback_env, "flag": flag, "secret": secret}
    low, high = bounds or (None, None)
    return msgspec.Meta(description=help_text, extra=extra, ge=low, le=high)


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One `[section]` of the file. Its repr masks secrets, so that a logged one gives nothing away."""

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override is of 3.12
        hidden = {one.field for one in settings_of("", type(self)) if one.secret}
        shown = (
            f"{name}={MASK if name in hidden and getattr(self, name) else getattr(self, name)!r}"
            for name in self.__struct_fields__
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """`env` are the variables that set it, the stronger one first; the first is ours."""

    section: str
    field: str
    type: Any
    default: Any
    help: str
    env: tuple[str, ...]
    flag: str | None
    secret: bool

    @property
    def name(self) -> str:
        """As flags and origins call it: `server.port`."""
        return f"{self.section}.{self.field}"

    @property
    def label(self) -> str:
        """As messages call it: `[server] port`."""
        return f"[{self.section}] {self.field}"

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return _words(inspect.type_info(self.type))

    @property
    def is_list(self) -> bool:
        """In the environment and in flags its values stand separated by commas."""
        return isinstance(_without_meta(inspect.type_info(self.type)), inspect.VarTupleType)

    def shown(self, value: object) -> str:
        """`value` for people, masked when it is secret."""
        if isinstance(value, tuple):
            return ", ".join(self.shown(each) for each in value)
        if value is None:
            return ""
        if self.secret:
            return MASK
        return mask_password(str(value))


def mask_password(text: str) -> str:
    """`text` with the password of a `scheme://user:password@host` masked."""
    scheme, separator, rest = text.partition("://")
    login, at, host = rest.rpartition("@")
    if not separator or not at or ":" not in login:
        return text
    return f"{scheme}://{login.partition(':')[0]}:{MASK}@{host}"


def settings_of(section: str, struct: type[msgspec.Struct]) -> tuple[Setting, ...]:
    """The settings that a section Struct declares, in its order."""
    hints = get_type_hints(struct, include_extras=True)
    found = []
    for field in msgspec.structs.fields(struct):
        meta: msgspec.Meta = hints[field.name].__metadata__[0]
        extra = meta.extra or {}
        own = extra["env"] or f"NGX_{section}_{field.name}".upper().replace(".", "_")
        found.append(
            Setting(
                section=section,
                field=field.name,
                type=hints[field.name],
                default=field.default,
                help=meta.description or "",
                env=tuple(filter(None, (own, extra["fallback_env"]))),
                flag=extra["flag"],
                secret=extra["secret"],
            )
        )
    return tuple(found)


def _without_meta(kind: inspect.Type) -> inspect.Type:
    return _without_meta(kind.type) if isinstance(kind, inspect.Metadata) else kind


def _words(kind: inspect.Type) -> str:
    kind = _without_meta(kind)
    match kind:
        case inspect.UnionType(types=types):
            return " or ".join(_words(one) for one in types if not isinstance(one, inspect.NoneType))
        case inspect.LiteralType(values=values):
            *most, last = map(str, values)
            return f"{', '.join(most)} or {last}"
        case inspect.VarTupleType(item_type=item):
            return f"a list, each {_words(item)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high):
            return f"a whole number{_bounds(low, high)}"
        case inspect.FloatType(ge=low, le=high):
            return f"a number{_bounds(low, high)}"
        case _:
            return "a text"


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" from {low:.0f} to {high:.0f}"
