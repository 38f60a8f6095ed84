"""Instances that serve https ask each other over it, and only who their own authority vouches for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from ngx_agents.clock import SystemClock
from ngx_agents.errors import Unavailable
from ngx_agents.gateway.peer_signature import PeerSignature
from ngx_agents.gateway.peers import HttpPeers
from ngx_agents.state.model import Owner
from tests.app.edge_serving import Echo, edge


async def test_a_peer_is_asked_over_tls_when_its_certificate_verifies(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key, trusted = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(trusted))
    signature = PeerSignature([b"k" * 32], SystemClock())
    environ = {"NGX_SERVER_TLS_CERT": str(cert), "NGX_SERVER_TLS_KEY": str(key)}
    app = Echo()
    async with edge(app, **environ) as served:
        address = "https://{}:{}".format(*served.address)
        async with HttpPeers(signature, ca_file=str(trusted)) as peers:
            await peers.stop(address, "t_1", Owner("acme", "ana"), code="cancelled")
        assert [scope["path"] for scope in app.scopes] == ["/internal/turns/t_1/cancelled"]
        async with HttpPeers(signature) as peers:
            with pytest.raises(Unavailable):
                await peers.stop(address, "t_1", Owner("acme", "ana"), code="cancelled")
    assert len(app.scopes) == 1
