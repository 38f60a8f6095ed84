"""A real HTTP server that speaks Vertex's REST and an OpenAI-compatible surface, with faults on demand."""

from ngx_agents.vertex.emulator.app import create_app
from ngx_agents.vertex.emulator.server import run
from ngx_agents.vertex.emulator.settings import EmulatorSettings

__all__ = ["EmulatorSettings", "create_app", "run"]
