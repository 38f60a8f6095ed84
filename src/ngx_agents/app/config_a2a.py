"""Settings of the open protocol A2A."""

from __future__ import annotations

from typing import Annotated

from ngx_agents.app.setting import Section, setting


class A2aConfig(Section, frozen=True, kw_only=True):
    """The open protocol A2A, under /a2a; needs the extra `a2a`."""

    enabled: Annotated[bool, setting("Serve A2A and the agent cards.")] = True
    public_url: Annotated[
        str | None,
        setting("Where callers reach this server, such as https://agents.example; unset: the host that they named."),
    ] = None
    grpc_port: Annotated[
        int, setting("Port of the gRPC binding, on the server's host; 0 serves none.", bounds=(0, 65_535))
    ] = 0
    v0_3: Annotated[bool, setting("Also speak version 0.3, which a caller that names none means.")] = True
    wait_s: Annotated[
        float, setting("How long SendMessage waits for the task before it answers with it as it is.", bounds=(1, 3_600))
    ] = 300.0
    max_streams: Annotated[int, setting("Streams that one user may have open here.", bounds=(1, 100_000))] = 64
    required_extensions: Annotated[
        tuple[str, ...], setting("URIs of extensions that every caller must say it supports.")
    ] = ()
    card_key_file: Annotated[
        str | None, setting("PEM file of an EC P-256 or RSA key that signs the agent cards; unset: not signed.")
    ] = None
    card_key_id: Annotated[str, setting("Name of that key in the signatures.")] = "ngx"
    test_agent: Annotated[
        bool,
        setting("Add an agent that does what it is told, to test clients against.", flag="--with-test-agent"),
    ] = False
