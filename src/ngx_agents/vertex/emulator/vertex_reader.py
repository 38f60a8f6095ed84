"""Reads a Vertex request body into a `Prompt`: lowerCamelCase and snake_case, strict where the service is strict."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import msgspec

from ngx_agents.vertex.emulator import fields
from ngx_agents.vertex.emulator.caches import Cache, Caches
from ngx_agents.vertex.emulator.catalog import Model
from ngx_agents.vertex.emulator.generation import check_safety, read_config
from ngx_agents.vertex.emulator.parts import Weight, read_content, read_contents
from ngx_agents.vertex.emulator.prompt import Prompt, Result, Tool, ToolMode, tokens_of
from ngx_agents.vertex.emulator.refusal import Refusal, named
from ngx_agents.vertex.emulator.target import Target

SKIP_SIGNATURE = "skip_thought_signature_validator"
_REQUEST = fields.names(
    "contents systemInstruction cachedContent tools toolConfig safetySettings generationConfig labels modelArmorConfig"
    " serviceTier model"
)
_COUNT = _REQUEST | {"instances", "generateContentRequest"}
_MODES: dict[str, ToolMode] = {"ANY": "any", "NONE": "none", "AUTO": "auto", "VALIDATED": "auto"}
_MODE_NAMES = frozenset((*_MODES, "MODE_UNSPECIFIED"))
_TOOL = fields.names(
    "functionDeclarations googleSearch googleSearchRetrieval codeExecution urlContext googleMaps enterpriseWebSearch"
    " computerUse retrieval fileSearch mcpServers parallelAiSearch"
)
_GROUNDING = frozenset(("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "googleMaps", "retrieval"))


def signature_for(model: str, name: str) -> str:
    """The thought signature that `model` gives with a call of the tool `name`, base64."""
    return base64.b64encode(f"thought:{model}:{name}".encode()).decode()


def read(doc: dict[str, Any], target: Target, model: Model, caches: Caches) -> Prompt:
    """The prompt of a generateContent or streamGenerateContent body. Raises Refusal."""
    doc = fields.known(doc, _REQUEST)
    config = read_config(doc.get("generationConfig"), model)
    weight = Weight()
    contents = read_contents(doc, weight, config.resolution)
    cache = _cache(doc, target, caches)
    tools, is_grounded = read_setting(doc, weight)
    mode, allowed = read_tool_config(doc, tools)
    details = tokens_by_modality(weight)
    if cache is not None:
        tools, mode, allowed = cache.tools, cache.mode, cache.allowed
        for modality, count in cache.details.items():
            details[modality] = details.get(modality, 0) + count
    _check(doc, contents, target, model)
    user_text, results = _last_said(contents)
    prompt = Prompt(
        model=target.model,
        user_text=user_text,
        begun=_begun(contents),
        results=results,
        tools=tools,
        mode=mode,
        allowed=allowed,
        max_output_tokens=config.max_output_tokens,
        wants_thoughts=config.wants_thoughts,
        tokens=sum(details.values()),
        details=details,
        cached=cache.details if cache is not None else {},
        config=config,
        tier=str(doc.get("serviceTier") or "").lower(),
        is_grounded=is_grounded,
    )
    if prompt.tokens > model.input_limit:
        raise Refusal(
            400,
            f"The input token count ({prompt.tokens}) exceeds the maximum number of tokens allowed"
            f" ({model.input_limit}).",
        )
    return prompt


def read_count(doc: dict[str, Any], model: Model) -> tuple[dict[str, int], int]:
    """Tokens by modality and billable characters of a countTokens body. Raises Refusal."""
    doc = fields.known(doc, _COUNT)
    if isinstance(nested := doc.get("generateContentRequest"), dict):
        doc = fields.known(nested, _REQUEST, "generate_content_request")
    config = read_config(doc.get("generationConfig"), model)
    weight = Weight()
    contents = read_contents(doc, weight, config.resolution)
    tools, _ = read_setting(doc, weight)
    texts = [part["text"] for content in contents for part in content["parts"] if isinstance(part.get("text"), str)]
    if system := doc.get("systemInstruction"):
        parts = read_content(_system(system), Weight(), "HIGH", "system_instruction")["parts"]
        texts.extend(str(part.get("text") or "") for part in parts)
    texts.extend(tool.name + tool.description for tool in tools)
    return tokens_by_modality(weight), sum(len("".join(text.split())) for text in texts)


def read_setting(doc: dict[str, Any], weight: Weight) -> tuple[tuple[Tool, ...], bool]:
    """The tools, and whether one of them searches; the weight of tools and system instruction is added."""
    system = doc.get("systemInstruction")
    if system:
        read_content(_system(system), weight, "HIGH", "system_instruction")
    if not doc.get("tools"):
        return (), False
    tools = tuple(_tools(doc))
    weight.characters += sum(
        len(tool.name) + len(tool.description) + len(msgspec.json.encode(tool.schema)) for tool in tools
    )
    is_grounded = any(not _GROUNDING.isdisjoint(map(fields.camel, tool)) for tool in fields.listed(doc, "tools"))
    return tools, is_grounded


def read_tool_config(doc: dict[str, Any], tools: tuple[Tool, ...]) -> tuple[ToolMode, frozenset[str]]:
    """Raises Refusal."""
    config = doc.get("toolConfig")
    if not config:
        return "auto", frozenset()
    calling = fields.get(config, "functionCallingConfig") if isinstance(config, dict) else None
    if not calling:
        return "auto", frozenset()
    if not isinstance(calling, dict):
        raise fields.wrong("tool_config.function_calling_config", calling)
    mode = fields.chosen(calling.get("mode") or "AUTO", _MODE_NAMES, "tool_config.function_calling_config.mode")
    allowed = frozenset(map(str, fields.get(calling, "allowedFunctionNames") or ()))
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise Refusal(
            400, "Allowed function names should be set only when the function calling mode is ANY or VALIDATED."
        )
    if missing := allowed - {tool.name for tool in tools}:
        raise Refusal(400, f"Allowed function names are not declared: {', '.join(sorted(missing))}.")
    return _MODES.get(mode, "auto"), allowed


def tokens_by_modality(weight: Weight) -> dict[str, int]:
    """TEXT first, then what else there is."""
    return {"TEXT": tokens_of(weight.characters), **weight.media}


def _system(system: Any) -> Any:
    return {"role": "user", "parts": [{"text": system}]} if isinstance(system, str) else system


def _cache(doc: dict[str, Any], target: Target, caches: Caches) -> Cache | None:
    name = fields.text(doc, "cachedContent")
    if not name:
        return None
    if any(doc.get(field) for field in ("systemInstruction", "tools", "toolConfig")):
        raise named("cache_conflict")
    return caches.use(name, target)


def _check(doc: dict[str, Any], contents: list[dict[str, Any]], target: Target, model: Model) -> None:
    if doc.get("safetySettings"):
        check_safety(fields.listed(doc, "safetySettings"))
    if model.needs_signatures:
        for content in contents:
            if content["role"] == "model":
                _check_signatures(content, target.model)


def _check_signatures(content: dict[str, Any], model: str) -> None:
    """The first call of a step carries the signature; the calls beside it need none."""
    for position, part in enumerate(content["parts"], start=1):
        call = part.get("functionCall")
        if call is None:
            continue
        signature = part.get("thoughtSignature")
        if signature == SKIP_SIGNATURE:
            return
        if not signature:
            raise named("missing_signature", name=call.get("name"), position=position)
        if signature != signature_for(model, str(call.get("name"))):
            raise Refusal(400, "Thought signature is not valid.")
        return


def _tools(doc: dict[str, Any]) -> Iterable[Tool]:
    names: set[str] = set()
    for at, tool in enumerate(fields.listed(doc, "tools")):
        tool = fields.known(tool, _TOOL, f"tools[{at}]")
        for declared in tool.get("functionDeclarations") or ():
            name = declared.get("name") if isinstance(declared, dict) else None
            if not name or not isinstance(name, str):
                raise Refusal(400, "Invalid function declaration: the name is missing.")
            if name in names:
                raise Refusal(400, f"Duplicate function declaration found: {name}")
            names.add(name)
            schema = fields.get(declared, "parametersJsonSchema") or declared.get("parameters") or {}
            if not isinstance(schema, dict):
                raise fields.wrong(f"tools[{at}].function_declarations.parameters", schema)
            yield Tool(name, declared.get("description") or "", schema)


def _last_said(contents: list[dict[str, Any]]) -> tuple[str, tuple[Result, ...]]:
    """The last words of the user and the tool results after them."""
    results: list[Result] = []
    for content in reversed(contents):
        if content["role"] == "model":
            continue
        parts = content["parts"]
        if len(parts) == 1 and (text := parts[0].get("text")):
            return text, tuple(results)
        text = " ".join(part["text"] for part in content["parts"] if part.get("text"))
        found = [part["functionResponse"] for part in content["parts"] if part.get("functionResponse") is not None]
        results[:0] = [Result(str(each.get("name")), each.get("response")) for each in found]
        if text:
            return text, tuple(results)
    return "", tuple(results)


def _begun(contents: list[dict[str, Any]]) -> str:
    """The text of a last content that is the model's own, and text alone."""
    if not contents or contents[-1]["role"] != "model":
        return ""
    texts = [part.get("text") for part in contents[-1]["parts"]]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else ""
