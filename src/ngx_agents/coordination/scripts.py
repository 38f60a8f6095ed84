"""What must happen in Redis at once, as Lua. Time is the server's. Keys and arguments stand above each script.

A key that holds something foreign is taken over; the scripts that find such a thing say so in their answer.
"""

from __future__ import annotations

import hashlib


class Script:
    """A script and the name (SHA-1) under which a server that has seen it runs it."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


_NOW_MS = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# the index is a sorted set by expiry, so that it never holds more than what still lives
_INDEX = (
    """
local function index(group, key, ttl_ms)"""
    + _NOW_MS
    + """
  local kind = redis.call('TYPE', group).ok
  if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', group) end
  redis.call('ZREMRANGEBYSCORE', group, '-inf', string.format('%.0f', now_ms))
  redis.call('ZADD', group, 'GT', string.format('%.0f', now_ms + ttl_ms), key)
  if redis.call('PTTL', group) < ttl_ms then redis.call('PEXPIRE', group, string.format('%.0f', ttl_ms)) end
end
"""
)

# group | key, ttl in ms
INDEX = Script(_INDEX + "index(KEYS[1], ARGV[1], tonumber(ARGV[2]))")

# key, group | sealed value, ttl in ms
PUT = Script(
    _INDEX
    + """
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
index(KEYS[2], KEYS[1], tonumber(ARGV[2]))
"""
)

# key, group (or none) | sealed value, ttl in ms → 1 stored, 0 not
PUT_NEWER = Script(
    _INDEX
    + """
local head = redis.pcall('GETRANGE', KEYS[1], 0, 13)
if type(head) == 'string' and #head == 14 and string.sub(head, 1, 2) == 'n1' then
  local high, low = struct.unpack('>I4I4', head, 3)
  local new_high, new_low = struct.unpack('>I4I4', ARGV[1], 3)
  if high > new_high or (high == new_high and low >= new_low) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if KEYS[2] then index(KEYS[2], KEYS[1], tonumber(ARGV[2])) end
return 1
"""
)

# key | what was read: erased only if it is still that
DROP_IF = Script("if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")

# group, group being dropped | members that are gone → up to 256 others of the group being dropped
DROP_GROUP = Script(
    """
local kind, dropping = redis.call('TYPE', KEYS[1]).ok, redis.call('TYPE', KEYS[2]).ok
if dropping ~= 'zset' and dropping ~= 'none' then redis.call('DEL', KEYS[2]) end
if #ARGV == 0 and kind == 'zset' then
  local ttl_ms = math.max(redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[2]), 1)
  redis.call('ZUNIONSTORE', KEYS[2], 2, KEYS[1], KEYS[2], 'AGGREGATE', 'MAX')
  redis.call('DEL', KEYS[1])
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', ttl_ms))
end
if #ARGV > 0 then redis.call('ZREM', KEYS[2], unpack(ARGV)) end
return redis.call('ZRANGE', KEYS[2], 0, 255)
"""
)

_LEVELS = """
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local foreign = 0
local function refilled(key, capacity, refill_per_s)
  local stored = redis.pcall('HMGET', key, 'tokens', 'at_us')
  local tokens, at_us = tonumber(stored[1] or nil), tonumber(stored[2] or nil)
  if stored.err then redis.call('DEL', key) end
  if tokens and (tokens ~= tokens or math.abs(tokens) == math.huge) then tokens = nil end
  if stored.err or (stored[1] and not (tokens and at_us)) then foreign = foreign + 1 end
  if not (tokens and at_us) then return capacity end
  local passed_s = math.max(0, now_us - at_us) / 1e6
  return math.min(capacity, tokens + passed_s * refill_per_s)
end
local function keep(key, tokens, capacity, refill_per_s)
  redis.call('HSET', key, 'tokens', string.format('%.17g', tokens), 'at_us', string.format('%.0f', now_us))
  local full_s = math.ceil(math.min(MAX_TTL_S, (capacity - tokens) / refill_per_s)) + 1
  redis.call('PEXPIRE', key, string.format('%.0f', full_s * 1000))
end
""".replace("MAX_TTL_S", str(400 * 86_400))

# buckets | capacity, refill and amount of each → wait in s, microseconds of the server, foreign ones
RESERVE = Script(
    _LEVELS
    + """
local tokens, wait_s = {}, 0
for i, key in ipairs(KEYS) do
  local capacity, refill_per_s, amount = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  tokens[i] = refilled(key, capacity, refill_per_s)
  if tokens[i] < amount then wait_s = math.max(wait_s, (amount - tokens[i]) / refill_per_s) end
end
for i, key in ipairs(KEYS) do
  local capacity, refill_per_s, amount = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  if wait_s <= 0 then tokens[i] = tokens[i] - amount end
  keep(key, tokens[i], capacity, refill_per_s)
end
return {string.format('%.17g', wait_s), string.format('%.0f', now_us), foreign}
"""
)

# bucket | capacity, refill, delta → level afterwards, microseconds of the server, foreign ones
SETTLE = Script(
    _LEVELS
    + """
local capacity, refill_per_s, delta = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens = math.min(capacity, refilled(KEYS[1], capacity, refill_per_s) - delta)
keep(KEYS[1], tokens, capacity, refill_per_s)
return {string.format('%.17g', tokens), string.format('%.0f', now_us), foreign}
"""
)

# counter | amount, ttl in ms → sum, foreign ones
COUNT = Script(
    """
local sum, foreign = redis.pcall('INCRBY', KEYS[1], ARGV[1]), 0
if type(sum) == 'table' then
  redis.call('DEL', KEYS[1])
  sum, foreign = redis.call('INCRBY', KEYS[1], ARGV[1]), 1
end
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {sum, foreign}
"""
)

# places | member, wanted, least, limit, lease in ms → held by the member, by others, foreign ones
HOLD = Script(
    _NOW_MS
    + """
local found, foreign, others = redis.pcall('HGETALL', KEYS[1]), 0, 0
if found.err then
  redis.call('DEL', KEYS[1])
  found, foreign = {}, 1
end
for i = 1, #found, 2 do
  if found[i] ~= ARGV[1] then
    local count, until_ms = string.match(found[i + 1], '^(%d+) (%d+)$')
    if count and tonumber(until_ms) > now_ms then
      others = others + tonumber(count)
    else
      redis.call('HDEL', KEYS[1], found[i])
      if not count then foreign = foreign + 1 end
    end
  end
end
local held = math.max(tonumber(ARGV[3]), math.min(tonumber(ARGV[2]), tonumber(ARGV[4]) - others))
if held > 0 then
  local lease_ms = tonumber(ARGV[5])
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f', held, now_ms + lease_ms))
  if redis.call('PTTL', KEYS[1]) < lease_ms then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return {held, others, foreign}
"""
)
