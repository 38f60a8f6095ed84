"""The models that are served, and where: a table that a control order can change while the emulator runs.

A model that the table does not know is refused with 404, as is one that is retired or absent from the location asked.
Sources: the vendor's model pages as of November 2026; limits that differ there are set by order.
"""

from __future__ import annotations

import msgspec

from ngx_agents.vertex.emulator.refusal import named
from ngx_agents.vertex.emulator.target import Target

WIDE = ("global", "us", "eu")  # Gemini 3 and later are in no plain region
LEVELS = ("minimal", "low", "medium", "high", "xhigh")


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`locations` empty: everywhere. `dimensions` > 0: an embedding model of so many. Limits in tokens."""

    locations: tuple[str, ...] = WIDE
    retired: bool = False
    needs_signatures: bool = True
    takes_budget: bool = True
    levels: tuple[str, ...] = LEVELS
    input_limit: int = 1_048_576
    output_limit: int = 65_536
    dimensions: int = 0


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a control order changes in a model; unset fields stay."""

    locations: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    retired: bool | msgspec.UnsetType = msgspec.UNSET
    needs_signatures: bool | msgspec.UnsetType = msgspec.UNSET
    takes_budget: bool | msgspec.UnsetType = msgspec.UNSET
    levels: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    input_limit: int | msgspec.UnsetType = msgspec.UNSET
    output_limit: int | msgspec.UnsetType = msgspec.UNSET
    dimensions: int | msgspec.UnsetType = msgspec.UNSET


_THREE = Model()
_OLD = Model(locations=(), retired=True, needs_signatures=False)
_EMBEDDING = Model(locations=(), input_limit=2048, dimensions=3072)
TUNED = Model(locations=(), needs_signatures=False)
MODELS: dict[str, Model] = {
    **dict.fromkeys(
        (
            "gemini-3.8-flash",
            "gemini-3.7-flash",
            "gemini-3.6-flash",
            "gemini-3.5-flash",
            "gemini-3.5-flash-lite",
            "gemini-3.1-flash-lite",
            "gemini-3.1-pro-preview",
            "gemini-3-flash-preview",
            "gemini-3.8-flash-cyber",
        ),
        _THREE,
    ),
    "gemini-4-argon": Model(takes_budget=False, levels=("low", "medium", "high")),
    **dict.fromkeys(("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"), _OLD),
    "gemini-embedding-001": _EMBEDDING,
    "gemini-embedding-2": Model(locations=(), input_limit=8192, dimensions=3072),
    "text-embedding-005": Model(locations=(), input_limit=2048, dimensions=768),
}


class Catalog:
    """The table as it stands now."""

    def __init__(self) -> None:
        self.models = dict(MODELS)

    def change(self, changes: dict[str, Change]) -> None:
        """Changes known models; a name that was unknown is added as a Gemini 3 model."""
        for name, change in changes.items():
            given = {
                field: value for field, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET
            }
            self.models[name] = msgspec.structs.replace(self.models.get(name, _THREE), **given)

    def find(self, target: Target) -> Model:
        """The model that serves `target`. Raises Refusal (404)."""
        if target.is_tuned:
            return TUNED
        model = self.models.get(target.model)
        is_here = model is not None and (not model.locations or target.location in model.locations)
        if model is None or not is_here or model.retired:
            raise named("model_missing", **target.facts())
        return model
