"""What a call is aimed at, read from its path alone."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_P = r"/(?P<version>v1|v1beta1)/(?:projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/)?"
_MODEL = re.compile(
    _P + r"(?:(?:publishers/[^/]+/)?models/(?P<model>[^/:]+)|endpoints/(?P<endpoint>[^/:]+))"
    r":(?P<operation>generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents|predict)"
)
_CACHE = re.compile(_P + r"cachedContents(?:/(?P<cache>[^/:]+))?")
_OPENAI = re.compile(_P + r"(?:endpoints/openapi/)?(?P<call>chat/completions|embeddings)")
_OPENAI_OPERATIONS = {"chat/completions": "chatCompletions", "embeddings": "embeddings"}
_CACHE_OPERATIONS = {
    ("POST", False): "cachedContents.create",
    ("GET", False): "cachedContents.list",
    ("GET", True): "cachedContents.get",
    ("PATCH", True): "cachedContents.patch",
    ("DELETE", True): "cachedContents.delete",
}
EXPRESS_LOCATION = "global"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """`operation` is Vertex's name of the call; in express mode `project` is empty and the location global."""

    operation: str
    version: str = "v1"
    project: str = ""
    location: str = EXPRESS_LOCATION
    model: str = ""
    is_tuned: bool = False
    cache: str = ""

    def facts(self) -> dict[str, str]:
        """What messages about this call may name."""
        method = self.operation[:1].upper() + self.operation[1:]
        return {
            "project": self.project or "-",
            "location": self.location,
            "model": self.model,
            "cache": self.cache,
            "method": f"google.cloud.aiplatform.{self.version}.PredictionService.{method}",
        }


@lru_cache(maxsize=4096)
def target_of(method: str, path: str) -> Target | None:
    """What a call means; None when it is no call of a model, of a cache or of the OpenAI-compatible surface."""
    if method == "POST" and (match := _MODEL.fullmatch(path)):
        return _placed(match, match["operation"], match["model"] or f"endpoints/{match['endpoint']}")
    if match := _CACHE.fullmatch(path):
        operation = _CACHE_OPERATIONS.get((method, match["cache"] is not None))
        return None if operation is None else _placed(match, operation, "", match["cache"] or "")
    if method == "POST" and (match := _OPENAI.fullmatch(path)):
        return _placed(match, _OPENAI_OPERATIONS[match["call"]], "")
    return None


def _placed(match: re.Match[str], operation: str, model: str, cache: str = "") -> Target:
    return Target(
        operation=operation,
        version=match["version"],
        project=match["project"] or "",
        location=match["location"] or EXPRESS_LOCATION,
        model=model,
        is_tuned=model.startswith("endpoints/"),
        cache=cache,
    )
