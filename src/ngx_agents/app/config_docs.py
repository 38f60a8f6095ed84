"""`docs/configuration.md`, made from the settings themselves by `ngx config --markdown`.

A test compares the file with what this makes, so that the page cannot fall behind the program.
"""

from __future__ import annotations

from ngx_agents.app.config import all_settings, sections
from ngx_agents.app.config_named import NAMED
from ngx_agents.app.setting import Setting, settings_of

HEAD = """# Configuration

This page is generated: change the settings in `src/ngx_agents/app/config_sections.py`, then run
`ngx config --markdown > docs/configuration.md`.

Values come from three places, the later wins:

1. `ngx.toml` in the working directory, or the file named by `--config`
2. environment variables
3. command line flags

`ngx config` prints every effective value and where it came from, secrets masked. `ngx config --check` exits
with 2 when a server could not start with it.

Reading is strict. An unknown setting, or an unknown variable that begins with `NGX_`, is an error that names
the nearest known one. An empty variable counts as not set. The unit is in the
name: `_s` seconds, `_bytes` bytes, `_tokens` model tokens.

On Kubernetes, a Service named `ngx` makes the kubelet inject variables such as `NGX_PORT=tcp://…` into pods:
give the Service another name, or set `enableServiceLinks: false` on the pod.

```toml
# ngx.toml
[server]
port = 8080

[auth]
mode = "api_key"

[vertex]
project = "my-project"
```
"""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, struct in sections().items():
        parts.append(f"\n## [{name}]\n\n{struct.__doc__}\n")
        parts.append("\n| setting | value | default | variable | flag | |\n|---|---|---|---|---|---|\n")
        parts.extend(_row(one) for one in all_settings() if one.section == name)
    for kind, struct in NAMED.items():
        parts.append(f"\n## [{kind}.&lt;name&gt;]\n\n{struct.__doc__} There may be several, each with its own name.\n")
        parts.append("\n| setting | value | default | variable | flag | |\n|---|---|---|---|---|---|\n")
        parts.extend(_row(one) for one in settings_of(f"{kind}.<NAME>", struct))
    return "".join(parts)


def _row(one: Setting) -> str:
    default = f"`{one.shown(one.default)}`" if one.default is not None else ""
    variables = ", ".join(f"`{name}`" for name in one.env)
    flag = f"`{one.flag}`" if one.flag else ""
    return f"| `{one.field}` | {one.expected} | {default} | {variables} | {flag} | {one.help} |\n"
