"""`python -m ngx_agents.vertex.emulator`: one option for each setting."""

from __future__ import annotations

import argparse

import msgspec

from ngx_agents.vertex.emulator.server import run
from ngx_agents.vertex.emulator.settings import EmulatorSettings


def settings_from(arguments: list[str] | None = None) -> EmulatorSettings:
    """Settings from command-line options such as `--ttft-ms 20` and `--require-auth`."""
    parser = argparse.ArgumentParser(prog="ngx emulator", description="A Vertex AI emulator.")
    for field in msgspec.structs.fields(EmulatorSettings):
        option = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=type(field.default), default=field.default)
    return EmulatorSettings(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    run(settings_from())
