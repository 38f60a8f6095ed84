"""Asks the team of a running server over MCP, twice in one conversation, with nothing but the standard library.

python examples/mcp_ask_team.py http://127.0.0.1:8000
"""

import json
import sys
from urllib.request import Request, urlopen


def call(url: str, name: str, **arguments: str) -> dict:
    """The result of one tool."""
    params = {"name": name, "arguments": arguments}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    request = Request(f"{url}/mcp", body, {"Content-Type": "application/json", "Accept": "application/json"})
    with urlopen(request) as answer:
        return json.load(answer)["result"]


url = sys.argv[1]
plan = call(url, "ask_team", text="I want a strength plan, 3 days a week", locale="en")
print(plan["content"][0]["text"][:200])
about = plan["structuredContent"]
print("by", ", ".join(about["agents"]), "· source", about["source"], "·", len(about["artifacts"]), "artifact")
call(url, "ask_team", text="and a weekly menu, please", locale="en", conversation_id=about["conversation_id"])
messages = call(url, "read_conversation", conversation_id=about["conversation_id"])["structuredContent"]["items"]
print([message["role"] for message in messages])
