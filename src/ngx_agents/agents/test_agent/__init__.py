"""An agent that does what the first word of a message says, to test clients of the open protocol against."""

from ngx_agents.agents.test_agent.agent import ID, MODES, Served, WithTestAgent, answers_at_once

__all__ = ["ID", "MODES", "Served", "WithTestAgent", "answers_at_once"]
