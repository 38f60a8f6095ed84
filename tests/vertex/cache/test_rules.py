"""How long an answer is kept."""

from __future__ import annotations

import math

import pytest

from ngx_agents.errors import ConfigError
from ngx_agents.vertex.cache.rules import DAY_S, DEFAULT_RULES, MAX_TTL_S, CacheRules, ClassRule
from ngx_agents.vertex.scope import CacheRule, Cohort, Public, QueryClass, User

SPECIFIED_TTL_S: dict[QueryClass, float] = {
    "general": 3600,
    "embedding": 86_400,
    "batch_embedding": 43_200,
    "multimodal": 7200,
    "document": 86_400,
    "time": 300,
    "news": 1800,
    "weather": 3600,
}


@pytest.mark.parametrize(("query_class", "ttl_s"), SPECIFIED_TTL_S.items())
def test_each_class_has_the_specified_life(query_class: QueryClass, ttl_s: float) -> None:
    assert CacheRules().life(CacheRule(scope=Public(), query_class=query_class)).ttl_s == ttl_s


def test_load_lengthens_content_and_embeddings_and_ends_again() -> None:
    rules = CacheRules()
    general, embedding, document = (
        CacheRule(scope=Public(), query_class=name) for name in ("general", "embedding", "document")
    )
    rules.choose("under_load")
    assert [rules.life(rule).ttl_s for rule in (general, embedding, document)] == [7200, 172_800, 86_400]
    rules.choose("normal")
    assert [rules.life(rule).ttl_s for rule in (general, embedding, document)] == [3600, 86_400, 86_400]


def test_load_never_shortens_a_life_that_was_set_longer() -> None:
    rules = CacheRules(ttl_s=9000)
    rules.choose("under_load")
    assert rules.life(CacheRule(scope=Public())).ttl_s == 9000


def test_clients_ttl_is_that_of_the_general_class_and_of_no_other() -> None:
    rules = CacheRules(ttl_s=60)
    assert rules.life(CacheRule(scope=Public())).ttl_s == 60
    assert rules.life(CacheRule(scope=Public(), query_class="document")).ttl_s == DAY_S


@pytest.mark.parametrize(
    ("own_s", "ttl_s"), [(5.0, 5.0), (0.0, 0.0), (-1.0, 0.0), (math.nan, 0.0), (math.inf, MAX_TTL_S)]
)
def test_an_entrys_own_life_wins_within_bounds(own_s: float, ttl_s: float) -> None:
    assert CacheRules(ttl_s=60).life(CacheRule(scope=Public(), ttl_s=own_s)).ttl_s == ttl_s


@pytest.mark.parametrize("query_class", ["time", "news", "weather"])
def test_what_depends_on_the_time_is_off_by_default_and_never_a_users(query_class: QueryClass) -> None:
    everyones = CacheRule(scope=Public(), query_class=query_class)
    assert not CacheRules().may_keep(everyones)
    on = CacheRules(changed={query_class: ClassRule(ttl_s=DEFAULT_RULES[query_class].ttl_s)})
    assert on.may_keep(everyones)
    for scope in (User("u"), Cohort("c")):
        assert not on.may_keep(CacheRule(scope=scope, query_class=query_class))


@pytest.mark.parametrize("ttl_s", [-1.0, math.nan, math.inf, MAX_TTL_S + 1])
def test_life_that_is_none_is_a_config_error(ttl_s: float) -> None:
    with pytest.raises(ConfigError, match="general: ttl_s"):
        CacheRules(ttl_s=ttl_s)
