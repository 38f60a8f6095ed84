"""The smallest agent that a team can take in: A2A over HTTP+JSON with nothing but the standard library.

python examples/remote_agent.py 8090      and in ngx.toml of the server:
[agents.remote.tides]
card = "http://127.0.0.1:8090/.well-known/agent-card.json"
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(sys.argv[1])
CARD = {
    "name": "Tides",
    "description": "Knows when the water is high.",
    "version": "1.0",
    "supportedInterfaces": [
        {"url": f"http://127.0.0.1:{PORT}", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"}
    ],
    "capabilities": {"streaming": False},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [
        {
            "id": "tides",
            "name": "Tides",
            "description": "High and low water of a place",
            "tags": ["tides", "mareas"],
            "examples": ["When is high tide in Cádiz?", "¿A qué hora sube la marea?"],
        }
    ],
}


class Agent(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.reply(CARD)

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["message"]
        asked = message["parts"][0]["text"]
        text = f"High water is at 06:12 and 18:40. (You asked: {asked})"
        said = {"messageId": message["messageId"] + "-1", "role": "ROLE_AGENT", "parts": [{"text": text}]}
        self.reply({"message": said})

    def reply(self, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), Agent)
print("ready", flush=True)
server.serve_forever()
