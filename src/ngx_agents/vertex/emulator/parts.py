"""The parts of contents: their checks, and how many tokens each modality makes.

Text makes a token for four characters. Media are weighed by kind and size, in the proportions the vendor documents;
what only a decoder could know (seconds, pages) is estimated from the bytes, or taken as one unit for a file's URI.
"""

from __future__ import annotations

import binascii
from typing import Any

import msgspec

from ngx_agents.vertex.emulator import fields
from ngx_agents.vertex.emulator.refusal import Refusal

DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult")
_PART = frozenset((*DATA, "thought", "thoughtSignature", "mediaResolution", "videoMetadata"))
_CONTENT = frozenset(("role", "parts"))
IMAGE_TOKENS = {"LOW": 280, "MEDIUM": 560, "HIGH": 1120}
_BYTES_PER_UNIT = {"AUDIO": 16_000, "VIDEO": 250_000, "DOCUMENT": 100_000}  # a second, a second, a page
_UNIT_TOKENS = {"AUDIO": 32, "VIDEO": 70, "DOCUMENT": 560}
INLINE_LIMIT_BYTES = 20 * 1024 * 1024
_TEXT_TYPES = ("application/json", "application/xml", "application/x-javascript")


class Weight(msgspec.Struct):
    """What contents weigh: characters of text, tokens of other modalities, and how many pieces of each."""

    characters: int = 0
    media: dict[str, int] = {}
    counts: dict[str, int] = {}


def read_contents(doc: dict[str, Any], weight: Weight, resolution: str) -> list[dict[str, Any]]:
    """The contents of a request, checked, their weight added. Raises Refusal."""
    contents = doc.get("contents")
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise Refusal(400, "Unable to submit request because at least one contents field is required.")
    return [read_content(content, weight, resolution, f"contents[{at}]") for at, content in enumerate(contents)]


def read_content(content: Any, weight: Weight, resolution: str, where: str) -> dict[str, Any]:
    """One content with lowerCamelCase parts. Raises Refusal."""
    content = fields.known(content, _CONTENT, where)
    if content.get("role", "user") not in ("user", "model", "system", "function", ""):
        raise Refusal(400, "Please use a valid role: user, model.")
    parts = content.get("parts")
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list) or not parts:
        raise Refusal(400, "Unable to submit request because it must include at least one parts field.")
    read: list[dict[str, Any]] = []
    for at, part in enumerate(parts):
        if type(part) is dict and len(part) == 1 and type(text := part.get("text")) is str:
            weight.characters += len(text)
            read.append(part)
        else:
            read.append(_read_part(part, weight, resolution, f"{where}.parts[{at}]"))
    return {"role": content.get("role") or "user", "parts": read}


def _read_part(given_part: Any, weight: Weight, resolution: str, where: str) -> dict[str, Any]:
    part = fields.known(given_part, _PART, where)
    given = [name for name in DATA if part.get(name) is not None]
    if len(given) != 1:
        raise Refusal(400, "Unable to submit request because each part must have exactly one data field set.")
    kind = given[0]
    if kind == "text":
        weight.characters += len(fields.text(part, "text", f"{where}."))
    elif kind in ("inlineData", "fileData"):
        _weigh_media(part, kind, weight, resolution, where)
    else:
        if not isinstance(part[kind], dict):
            raise fields.wrong(f"{where}.{fields.snake(kind)}", part[kind])
        weight.characters += len(msgspec.json.encode(part))
    return part


def _weigh_media(part: dict[str, Any], kind: str, weight: Weight, resolution: str, where: str) -> None:
    data = {fields.camel(name): value for name, value in part[kind].items()} if isinstance(part[kind], dict) else {}
    mime = fields.text(data, "mimeType", where + ".").lower().partition(";")[0]
    modality = modality_of(mime)
    if kind == "fileData":
        uri = fields.text(data, "fileUri", where + ".")
        if not uri.startswith(("gs://", "https://", "http://")):
            raise Refusal(400, f"Unable to submit request because the file URI is not supported: {uri[:200]}")
        size_bytes = _BYTES_PER_UNIT.get(modality, 4096)
    else:
        size_bytes = _decoded_bytes(fields.text(data, "data", where + "."), where)
    if modality == "TEXT":
        weight.characters += size_bytes
        return
    level = str(part.get("mediaResolution") or resolution).upper().removeprefix("MEDIA_RESOLUTION_")
    weight.counts[modality] = weight.counts.get(modality, 0) + 1
    weight.media[modality] = weight.media.get(modality, 0) + _tokens(modality, size_bytes, level)


def modality_of(mime: str) -> str:
    """TEXT, IMAGE, AUDIO, VIDEO or DOCUMENT. Raises Refusal for what the service does not take."""
    if mime == "application/pdf":
        return "DOCUMENT"
    if mime.startswith("text/") or mime in _TEXT_TYPES:
        return "TEXT"
    family = mime.partition("/")[0].upper()
    if family in ("IMAGE", "AUDIO", "VIDEO") and mime.partition("/")[2]:
        return family
    raise Refusal(
        400,
        f"Unable to submit request because it has a mimeType parameter with value {mime or '(empty)'}, which is not"
        " supported. Update the mimeType and try again.",
    )


def _decoded_bytes(data: str, where: str) -> int:
    if 3 * len(data) // 4 > INLINE_LIMIT_BYTES:
        raise Refusal(400, f"Request payload size exceeds the limit: {INLINE_LIMIT_BYTES} bytes.")
    try:
        padded = data.translate(_URL_SAFE) + "=" * (-len(data) % 4)
        return len(binascii.a2b_base64(padded, strict_mode=True))
    except (binascii.Error, ValueError) as exc:
        field = f"{where}.inline_data.data"
        message = f"Invalid value at '{field}' (TYPE_BYTES), Base64 decoding failed for \"{data[:40]}\""
        raise Refusal(400, message, fields=((field, message),)) from exc


_URL_SAFE = str.maketrans("-_", "+/")


def _tokens(modality: str, size_bytes: int, level: str) -> int:
    if modality == "IMAGE":
        return IMAGE_TOKENS.get(level, IMAGE_TOKENS["HIGH"])
    return max(1, -(-size_bytes // _BYTES_PER_UNIT[modality])) * _UNIT_TOKENS[modality]
