"""The signer against the examples that Amazon publishes for S3 (Signature Version 4, Authorization header)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ngx_agents.state.object_signing import Signer, ToSign, encoded_path

SIGNER = Signer(
    access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region="us-east-1"
)
AT_S = 1_369_353_600.0  # 2013-05-24
HOST = "examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("request_", "signature"),
    [
        (
            {"method": "GET", "path": "/test.txt", "more": {"range": "bytes=0-9"}},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            {
                "method": "PUT",
                "path": encoded_path("/test$file.text"),
                "payload_sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
                "more": {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            },
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            {"method": "GET", "path": "/", "query": [("lifecycle", "")]},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            {"method": "GET", "path": "/", "query": [("prefix", "J"), ("max-keys", "2")]},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get with range", "put", "query without value", "list"],
)
def test_the_published_examples_get_their_published_signatures(request_: dict[str, Any], signature: str) -> None:
    headers = SIGNER.headers(ToSign(host=HOST, **request_), now_s=AT_S)
    scope = "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
    assert headers["authorization"].startswith(f"AWS4-HMAC-SHA256 {scope}")
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert headers["x-amz-date"] == "20130524T000000Z"


def test_a_changed_byte_changes_the_signature() -> None:
    one = SIGNER.headers(ToSign(method="GET", path="/a", host=HOST), now_s=AT_S)
    for other in (ToSign(method="PUT", path="/a", host=HOST), ToSign(method="GET", path="/b", host=HOST)):
        assert SIGNER.headers(other, now_s=AT_S)["authorization"] != one["authorization"]
