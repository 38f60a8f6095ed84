"""The small built-in model: SmolLM2-135M on llama.cpp, in a process of its own, speaking OpenAI's chat completions.

It is here when the extra `local` is installed. `process.LocalModel` runs and supervises it for a server;
`server.run` is the process itself, also what `ngx local-model` starts. It answers in English only, one question at a
time, in a sentence or two, and is fit for a greeting or a definition, not for advice or figures.
"""

from ngx_agents.vertex.local_model.installed import LANGUAGES, MODEL_NAME, is_installed

__all__ = ["LANGUAGES", "MODEL_NAME", "is_installed"]
