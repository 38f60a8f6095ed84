import pytest

from ngx_agents.errors import Unauthenticated
from ngx_agents.gateway.peer_signature import WINDOW_S, PeerSignature
from ngx_agents.state.model import Owner

ANA = Owner("acme", "ana")
OLD, NEW = b"o" * 32, b"n" * 32
PATH = "/internal/turns/t_1/events"


class SetClock:
    def __init__(self) -> None:
        self.at_s = 1_790_000_000.0

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, delay_s: float) -> None:
        self.at_s += delay_s


def as_heard(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


@pytest.mark.parametrize("owner", [ANA, Owner("a/b", "c%2Fd"), Owner("ñandú", "\n.")])
def test_what_one_instance_signs_the_other_knows_the_owner_of(owner):
    clock = SetClock()
    sent = PeerSignature([NEW], clock).headers("GET", PATH, owner)
    assert PeerSignature([NEW], clock).owner_of("GET", PATH, as_heard(sent)) == owner


@pytest.mark.parametrize(
    ("method", "path", "changed"),
    [
        ("POST", PATH, {}),
        ("GET", "/internal/turns/t_2/events", {}),
        ("GET", PATH, {"x-ngx-owner": "acme/ben"}),
        ("GET", PATH, {"x-ngx-owner": ""}),
        ("GET", PATH, {"x-ngx-signature": ""}),
        ("GET", PATH, {"x-ngx-signature": "nan.00"}),
        ("GET", PATH, {"x-ngx-signature": "1790000000.000."}),
        ("GET", PATH, {"x-ngx-signature": "1790000000.000.\u00e9"}),
    ],
)
def test_a_signature_holds_for_one_method_path_owner_and_time(method, path, changed):
    signature = PeerSignature([NEW], SetClock())
    sent = signature.headers("GET", PATH, ANA) | changed
    with pytest.raises(Unauthenticated):
        signature.owner_of(method, path, as_heard(sent))


def test_another_time_than_the_signed_one_is_refused():
    signature = PeerSignature([NEW], SetClock())
    sent = signature.headers("GET", PATH, ANA)
    at, _, mark = sent["x-ngx-signature"].rpartition(".")
    later = f"{float(at) + 1:.3f}.{mark}"
    with pytest.raises(Unauthenticated):
        signature.owner_of("GET", PATH, as_heard(sent | {"x-ngx-signature": later}))


@pytest.mark.parametrize("moved_s", [WINDOW_S + 1, -WINDOW_S - 1])
def test_a_request_cannot_be_repeated_after_its_window(moved_s):
    clock = SetClock()
    signature = PeerSignature([NEW], clock)
    sent = as_heard(signature.headers("GET", PATH, ANA))
    clock.at_s += moved_s
    with pytest.raises(Unauthenticated):
        signature.owner_of("GET", PATH, sent)


def test_while_a_key_is_changed_both_are_understood_and_the_first_signs():
    clock = SetClock()
    before, during = PeerSignature([OLD], clock), PeerSignature([NEW, OLD], clock)
    assert during.owner_of("GET", PATH, as_heard(before.headers("GET", PATH, ANA))) == ANA
    sent = as_heard(during.headers("GET", PATH, ANA))
    assert PeerSignature([NEW], clock).owner_of("GET", PATH, sent) == ANA
    with pytest.raises(Unauthenticated):
        before.owner_of("GET", PATH, sent)
