"""How webhooks are signed, by the example of the specification's own libraries, and which keys are taken."""

from __future__ import annotations

import base64

import pytest

from ngx_agents.errors import InvalidRequest
from ngx_agents.turns.webhooks import key_of, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_signature_is_the_one_of_the_specifications_example() -> None:
    """Source: the test vector of standard-webhooks/standard-webhooks, libraries."""
    content = b'{"test": 2432232314}'
    signature = sign(key_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, content)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_***", "whsec_" + base64.b64encode(b"x" * 23).decode(),
     "whsec_" + base64.b64encode(b"x" * 65).decode(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwé"],
)  # fmt: skip
def test_what_is_no_key_is_refused_and_not_told(secret: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        key_of(secret)
    assert refused.value.field == "webhook.secret"
    assert len(secret) < 10 or secret not in str(refused.value)
