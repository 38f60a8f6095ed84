"""How webhooks are signed, by the example of the specification's own libraries, and which keys are taken."""

from __future__ import annotations

import base64

import pytest

from ngx_agents.errors import InvalidRequest, NgxError
from ngx_agents.turns.webhooks import HeldKeys, key_of, sign

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


def test_keys_that_were_replaced_sign_until_their_time_and_there_are_never_more_than_three() -> None:
    keys, first = HeldKeys().with_new(former_until_s=0.0)
    keys, second = keys.with_new(former_until_s=100.0)
    assert [held.key for held in keys.still_good(99.0).keys] == [key_of(second), key_of(first)]
    assert [held.key for held in keys.still_good(100.0).keys] == [key_of(second)]
    for at_s in (50.0, 60.0, 70.0):
        keys, newest = keys.with_new(former_until_s=at_s)
    assert (keys.keys[0].key, len(keys.keys)) == (key_of(newest), 3)
    assert [held.until_s for held in keys.keys] == [None, 70.0, 60.0], "a later rotation keeps none for longer"
    assert HeldKeys.read(keys.packed()) == keys


def test_keys_that_cannot_be_read_are_a_typed_error() -> None:
    with pytest.raises(NgxError):
        HeldKeys.read(b"\xff")
