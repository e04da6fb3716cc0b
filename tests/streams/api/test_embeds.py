"""Signed tiles: one KPI, one scope, for a while; and every way to get more than that."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import jwt
import pytest
from api_firm import MINUTE, Firm, http

from tieout.streams.api.access import Access
from tieout.streams.api.embeds import EmbedKeys
from tieout.streams.api.values import Scope
from tieout.streams.settings import Api, Token

pytestmark = pytest.mark.anyio

OLD, NEW = "0123456789abcdefghijklmnopqrstuv", "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
FOREIGN = "z1y2x3w4v5u6t7s8r9q0p1o2n3m4l5k6"
SIGNER = "tieout_signer_0123456789abcdefghij"


def access(keys: dict[str, str], signing: str | None = None) -> Access:
    token = Token(sha256=sha256(SIGNER.encode()).hexdigest(), scopes=["embed:sign"])
    return Access.of(Api(tokens={"portal": token}, embed_keys=keys, embed_key=signing))


async def signed(client: httpx.AsyncClient, **wish: Any) -> httpx.Response:
    return await client.post("/v1/embed-tokens", json=wish, headers={"Authorization": f"Bearer {SIGNER}"})


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())  # noqa: TID251 - what a forger would do
    made = {"iss": "tieout", "aud": "tieout-embed", "sub": "unbilled_hours", "jti": "x", "iat": now, "exp": now + 600,
            "scope": {"le_code": ["UK01"]}}  # fmt: skip
    return {name: value for name, value in (made | changed).items() if value is not None}


async def test_a_signed_tile_shows_its_kpi_in_its_scope(furnished: Firm) -> None:
    """Value, unit, state, and how far it is complete; only the named pages may frame it."""
    app = furnished.app(access=access({"a": OLD}), frame_ancestors=("https://intranet.example.com",))
    async with http(app) as client:
        made = await signed(client, kpi="unbilled_hours", scope={"le_code": ["UK01"]}, ttl_s=600)
        assert made.status_code == 200, made.text
        assert made.headers["cache-control"] == "no-store"
        page = await client.get(made.json()["url"])
        picture = await client.get(made.json()["svg"])
        whole = await client.get(made.json()["url"] + "&theme=dark")
    assert 'data-state="FRESH"' in page.text
    for piece in ("Unbilled", ">315.00", ">h<", "UK01", "Up to date", "complete through 10 Mar 11:59 UTC"):
        assert piece in page.text.replace("0003", "00"), piece
    assert "<script" not in page.text
    assert whole.status_code == 200
    for answer in (page, picture):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert policy.endswith("frame-ancestors https://intranet.example.com")
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "315.00" in "".join(ElementTree.fromstring(picture.text).itertext())


async def test_money_of_several_currencies_is_never_added(furnished: Firm) -> None:
    """A tile shows a line for each."""
    async with http(furnished.app(access=access({"a": OLD}))) as client:
        page = await client.get((await signed(client, kpi="unbilled_value")).json()["url"])
    assert "47,250.04" in page.text
    assert "20,000.50" in page.text


async def test_a_stale_tile_says_so(furnished: Firm) -> None:
    """Nobody takes an old number for a new one; before everything is read it is unknown."""
    furnished.source("PSA/main", behind_us=12 * MINUTE, state="STALE")
    async with http(furnished.app()) as client:
        page = (await client.get("/embed/unbilled_hours")).text
        assert 'data-state="STALE"' in page
        assert "Stale: a source is behind" in page
        furnished.live.ready.clear()
        assert 'data-state="UNKNOWN"' in (await client.get("/embed/unbilled_hours.svg")).text


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/embed/unbilled_hours?token={}", 200),
        ("/embed/unbilled_hours.svg?token={}", 200),
        ("/embed/unbilled_value?token={}", 403),
        ("/embed/none?token={}", 404),
        ("/embed/unbilled_hours?token={}&le_code=US01", 403),
        ("/embed/unbilled_hours?token={}&le_code=UK01", 403),
        ("/embed/unbilled_hours?token={}&unknown=1", 422),
        ("/embed/unbilled_hours?token={}&theme=pink", 422),
        ("/embed/unbilled_hours?token={}x", 401),
        ("/embed/unbilled_hours?token=", 401),
        ("/embed/unbilled_hours?token=a&token={}", 401),
        ("/v1/kpis/unbilled_hours?token={}", 401),
        ("/v1/findings?token={}", 401),
        ("/?token={}", 401),
        ("/metrics?token={}", 401),
    ],
)
async def test_a_token_opens_its_tile_and_nothing_else(furnished: Firm, address: str, status: int) -> None:
    """Another KPI, a wider scope, another address: refused."""
    async with http(furnished.app(access=access({"a": OLD}))) as client:
        token = (await signed(client, kpi="unbilled_hours", scope={"le_code": ["UK01"]})).json()["token"]
        answer = await client.get(address.format(token))
    assert answer.status_code == status, answer.text
    assert token not in answer.text


async def test_an_embed_token_is_no_bearer_token(furnished: Firm) -> None:
    """It stands in addresses that others see."""
    async with http(furnished.app(access=access({"a": OLD}))) as client:
        token = (await signed(client, kpi="unbilled_hours")).json()["token"]
        assert (await client.get("/v1/kpis", headers={"Authorization": f"Bearer {token}"})).status_code == 401


@pytest.mark.parametrize(
    ("changed", "key", "headers", "algorithm"),
    [
        ({}, FOREIGN, {"kid": "a"}, "HS256"),  # signed with another key
        ({}, OLD, {"kid": "b"}, "HS256"),  # a key that is not there
        ({}, OLD, {}, "HS256"),  # no key named
        ({}, None, {"kid": "a"}, "none"),  # not signed at all
        ({}, OLD * 2, {"kid": "a"}, "HS512"),  # another algorithm
        ({"exp": 1_000_000_000}, OLD, {"kid": "a"}, "HS256"),  # long ago
        ({"exp": 9_999_999_999}, OLD, {"kid": "a"}, "HS256"),  # lives longer than a day
        ({"exp": None}, OLD, {"kid": "a"}, "HS256"),
        ({"iat": None}, OLD, {"kid": "a"}, "HS256"),
        ({"jti": None}, OLD, {"kid": "a"}, "HS256"),
        ({"sub": None}, OLD, {"kid": "a"}, "HS256"),
        ({"aud": "other"}, OLD, {"kid": "a"}, "HS256"),
        ({"iss": "other"}, OLD, {"kid": "a"}, "HS256"),
        ({"scope": None}, OLD, {"kid": "a"}, "HS256"),
        ({"scope": "UK01"}, OLD, {"kid": "a"}, "HS256"),
        ({"scope": {"le_code": 7}}, OLD, {"kid": "a"}, "HS256"),
    ],
)
async def test_a_forged_or_old_token_is_refused(
    furnished: Firm, changed: dict[str, Any], key: str | None, headers: dict[str, Any], algorithm: str
) -> None:
    """And the answer does not help the next try."""
    token = jwt.encode(claims(**changed), key or "", algorithm=algorithm, headers=headers)
    async with http(furnished.app(access=access({"a": OLD}))) as client:
        answer = await client.get(f"/embed/unbilled_hours?token={token}")
    assert answer.status_code == 401, answer.text
    assert answer.json()["detail"] in (
        "The embed token is not one of ours.", "The embed token has expired: ask the page's owner for a new one.",
    )  # fmt: skip


async def test_a_well_made_token_of_ours_is_taken(furnished: Firm) -> None:
    """The forgeries above fail for what was changed in them."""
    token = jwt.encode(claims(), OLD, algorithm="HS256", headers={"kid": "a"})
    async with http(furnished.app(access=access({"a": OLD}))) as client:
        assert (await client.get(f"/embed/unbilled_hours?token={token}")).status_code == 200


async def test_keys_rotate_without_a_gap(furnished: Firm) -> None:
    """Old tokens go on while both keys are there, new ones are of the new key, and a dropped key ends its tokens."""
    async def status(keys: dict[str, str], token: str) -> int:
        async with http(furnished.app(access=access(keys, next(reversed(keys))))) as client:
            return (await client.get(f"/embed/unbilled_hours?token={token}")).status_code

    async with http(furnished.app(access=access({"a": OLD}))) as client:
        before = (await signed(client, kpi="unbilled_hours")).json()["token"]
    async with http(furnished.app(access=access({"a": OLD, "b": NEW}, "b"))) as client:
        after = (await signed(client, kpi="unbilled_hours")).json()["token"]
    assert jwt.get_unverified_header(after)["kid"] == "b"
    assert [await status({"a": OLD, "b": NEW}, token) for token in (before, after)] == [200, 200]
    assert [await status({"b": NEW}, token) for token in (before, after)] == [401, 200]


@pytest.mark.parametrize(
    ("wish", "status", "problem"),
    [
        ({"kpi": "none"}, 404, "unknown-kpi"),
        ({"kpi": "unbilled_hours", "ttl_s": 86_401}, 422, "invalid-parameter"),
        ({"kpi": "unbilled_hours", "ttl_s": 0}, 422, "invalid-parameter"),
        ({"kpi": "unbilled_hours", "scope": {"worker_no": ["W1"]}}, 422, "invalid-parameter"),
        ({"kpi": "sync_lag", "scope": {"hold_code": ["H01"]}}, 422, "unknown-dimension"),
        ({"kpi": "unbilled_hours", "detail": True}, 422, "invalid-parameter"),
        ({}, 422, "invalid-parameter"),
    ],
)
async def test_a_wish_beyond_what_a_token_can_permit_is_refused(
    furnished: Firm, wish: dict[str, Any], status: int, problem: str
) -> None:
    """No longer than a day, no dimension that a KPI does not have, nothing personal."""
    async with http(furnished.app(access=access({"a": OLD}))) as client:
        answer = await signed(client, **wish)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/docs#problem-{problem}"), answer.text


async def test_without_a_key_nothing_is_signed(furnished: Firm) -> None:
    """And the answer says how to get one."""
    async with http(furnished.app(access=access({}))) as client:
        answer = await signed(client, kpi="unbilled_hours")
    assert answer.status_code == 409
    assert "tieout token key" in answer.json()["detail"]


async def test_hostile_scopes_are_only_text(furnished: Firm) -> None:
    """What a token says is shown escaped, in the page and in the picture."""
    hostile = '"><script>alert(1)</script>'
    async with http(furnished.app(access=access({"a": OLD}))) as client:
        made = (await signed(client, kpi="unbilled_hours", scope={"project_code": [hostile]})).json()
        for address in (made["url"], made["svg"], f"/embed/unbilled_hours?token={quote(hostile)}"):
            assert "<script>" not in (await client.get(address)).text


def test_several_keys_need_one_that_signs() -> None:
    """Which one is not left to the order in a file."""
    with pytest.raises(ValueError, match="embed_key must say which"):
        Api(embed_keys={"a": OLD, "b": NEW})
    with pytest.raises(ValueError, match="names none of embed_keys"):
        Api(embed_keys={"a": OLD}, embed_key="c")
    assert EmbedKeys({"a": OLD}, "a").sign("x", Scope(), 10**9)[1].expires_s - time.time() <= 86_401  # noqa: TID251

