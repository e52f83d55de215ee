from __future__ import annotations

import pytest

from pipeline.webhooks import signature, verify
from tests.receiver import NOW, SECRET


def test_a_signature_is_of_its_body_and_its_time() -> None:
    body = '{"id":"evt_1","name":"Zürich"}'.encode()
    header = signature(SECRET, int(NOW), body)
    # By openssl: printf '1700000000.{"id":"evt_1","name":"Zürich"}' | openssl dgst -sha256 -hmac whsec_a-long-one
    assert header == "t=1700000000,v1=e1a34a4b022da6f6ee8f1b9f9e761ff99fdab87a20addee88c5d4a4774b722e0"
    assert verify(SECRET, header, body, NOW)
    assert verify(SECRET, f"{header}, v2=later", body, NOW + 300)
    assert not verify(SECRET, header, body, NOW + 301)
    assert not verify(SECRET, header, body, NOW - 301)
    assert not verify(SECRET, header, body + b" ", NOW)
    assert not verify("guess", header, body, NOW)
    assert not verify(SECRET, header.replace("t=17", "t=18"), body, NOW + 100_000_000)


@pytest.mark.parametrize(
    "header", ["", "t=", "v1=", "t=1700000000", "t=1700000000,v1=", "t=1700000000,v1=ö", "t=NaN,v1=0", f"t={'9' * 999}"]
)
def test_what_is_no_signature_does_not_pass(header: str) -> None:
    assert not verify(SECRET, header, b"", NOW)
