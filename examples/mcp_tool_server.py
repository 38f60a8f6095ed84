"""The smallest server of tools: one tool over standard input and output, without any library.

Give it to a specialist in ngx.toml, then ask for what is in season:
[mcp.market]
command = ["python", "examples/mcp_tool_server.py"]
tools = ["in_season"]
agents = ["precision_nutrition_architect"]
"""

import json
import sys

SEASONS = {"spring": ["strawberries", "asparagus"], "autumn": ["pumpkin", "grapes"]}
TOOL = {
    "name": "in_season",
    "description": "What the market has in a season.",
    "inputSchema": {
        "type": "object",
        "properties": {"season": {"type": "string", "enum": list(SEASONS)}},
        "required": ["season"],
    },
    "annotations": {"readOnlyHint": True},
}


def answer(method: str, params: dict) -> dict | None:
    if method == "initialize":
        about = {"name": "market", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        found = SEASONS.get(params["arguments"].get("season"), [])
        return {"content": [{"type": "text", "text": ", ".join(found)}], "isError": not found}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        result = answer(message["method"], message.get("params", {}))
        error = {"code": -32601, "message": "no such method"}
        outcome = {"error": error} if result is None else {"result": result}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **outcome}), flush=True)
