"""Reads a Vertex request body into a `Prompt`: lowerCamelCase and snake_case, strict where it is strict."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, cast

import msgspec

from ngx_agents.vertex.emulator.prompt import BadRequestError, Prompt, Result, Tool, ToolMode, tokens_of

SKIP_SIGNATURE = "skip_thought_signature_validator"
_MODES: dict[str, ToolMode] = {"ANY": "any", "NONE": "none"}
_PART_KINDS = (
    ("text", "text"),
    ("inlineData", "inline_data"),
    ("fileData", "file_data"),
    ("functionCall", "function_call"),
    ("functionResponse", "function_response"),
    ("executableCode", "executable_code"),
    ("codeExecutionResult", "code_execution_result"),
)


def signature_for(model: str, name: str) -> str:
    """The thought signature that `model` gives with a call of the tool `name`, base64."""
    return base64.b64encode(f"thought:{model}:{name}".encode()).decode()


def read(doc: Any, model: str) -> Prompt:
    """The prompt of a generateContent, streamGenerateContent or countTokens body. Raises BadRequestError."""
    if not isinstance(doc, dict):
        raise BadRequestError("Invalid JSON payload received. Root element must be a message.")
    contents = _contents(doc)
    system = _get(doc, "systemInstruction", "system_instruction") or {}
    config = _get(doc, "generationConfig", "generation_config") or {}
    tools = tuple(_tools(doc))
    for content in contents:
        if content.get("role") == "model":
            _check_signatures(content, model)
    mode, allowed = _tool_config(doc)
    user_text, results = _last_said(contents)
    thinking = _get(config, "thinkingConfig", "thinking_config") or {}
    return Prompt(
        model=model,
        user_text=user_text,
        results=results,
        tools=tools,
        mode=mode,
        allowed=allowed,
        max_output_tokens=_get(config, "maxOutputTokens", "max_output_tokens"),
        wants_thoughts=bool(_get(thinking, "includeThoughts", "include_thoughts")),
        tokens=tokens_of(_characters([system, *contents]) + _tool_characters(tools)),
    )


def _get(doc: dict[str, Any], camel: str, snake: str) -> Any:
    value = doc.get(camel)
    return doc.get(snake) if value is None else value


def _contents(doc: dict[str, Any]) -> list[dict[str, Any]]:
    contents = doc.get("contents")
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise BadRequestError("Unable to submit request because at least one contents field is required.")
    for content in contents:
        if content.get("role", "user") not in ("user", "model"):
            raise BadRequestError("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise BadRequestError("Unable to submit request because it must include at least one parts field.")
        for part in content["parts"]:
            _check_part(part)
    return cast("list[dict[str, Any]]", contents)


def _check_part(part: dict[str, Any]) -> None:
    given = sum(1 for camel, snake in _PART_KINDS if camel in part or snake in part)
    if given != 1:
        raise BadRequestError("Unable to submit request because each part must have exactly one data field set.")


def _check_signatures(content: dict[str, Any], model: str) -> None:
    """The first call of a step carries the signature; the calls beside it need none."""
    for position, part in enumerate(content["parts"], start=1):
        call = _get(part, "functionCall", "function_call")
        if call is None:
            continue
        signature = _get(part, "thoughtSignature", "thought_signature")
        if signature == SKIP_SIGNATURE:
            return
        if not signature:
            raise BadRequestError(
                "Function call is missing a thought_signature in functionCall parts. This is required for"
                f" tools to work correctly. Additional data, function call `default_api:{call.get('name')}`,"
                f" position {position}."
            )
        if signature != signature_for(model, str(call.get("name"))):
            raise BadRequestError("Thought signature is not valid.")
        return


def _tools(doc: dict[str, Any]) -> Iterable[Tool]:
    for tool in doc.get("tools") or ():
        for declared in _get(tool, "functionDeclarations", "function_declarations") or ():
            name = declared.get("name")
            if not name:
                raise BadRequestError("Invalid function declaration: the name is missing.")
            schema = _get(declared, "parametersJsonSchema", "parameters_json_schema") or declared.get("parameters")
            yield Tool(name, declared.get("description") or "", schema or {})


def _tool_config(doc: dict[str, Any]) -> tuple[ToolMode, frozenset[str]]:
    config = _get(doc, "toolConfig", "tool_config") or {}
    calling = _get(config, "functionCallingConfig", "function_calling_config") or {}
    allowed = _get(calling, "allowedFunctionNames", "allowed_function_names") or ()
    return _MODES.get(str(calling.get("mode", "AUTO")).upper(), "auto"), frozenset(allowed)


def _last_said(contents: list[dict[str, Any]]) -> tuple[str, tuple[Result, ...]]:
    """The last words of the user and the tool results after them."""
    results: list[Result] = []
    for content in reversed(contents):
        if content.get("role", "user") != "user":
            continue
        text = " ".join(part["text"] for part in content["parts"] if part.get("text"))
        found = [_get(part, "functionResponse", "function_response") for part in content["parts"]]
        results[:0] = [Result(str(each.get("name")), each.get("response")) for each in found if each is not None]
        if text:
            return text, tuple(results)
    return "", tuple(results)


def _characters(contents: Iterable[dict[str, Any]]) -> int:
    total = 0
    for content in contents:
        for part in content.get("parts") or ():
            text = part.get("text")
            total += len(text) if text is not None else len(msgspec.json.encode(part))
    return total


def _tool_characters(tools: tuple[Tool, ...]) -> int:
    return sum(len(tool.name) + len(tool.description) + len(msgspec.json.encode(tool.schema)) for tool in tools)
