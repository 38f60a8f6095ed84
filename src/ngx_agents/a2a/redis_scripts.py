"""What the carrier does in Redis at once, as Lua. Keys and arguments stand above each script.

An entry is in a queue until its reply was sent: waiting (not delivered) or held by a consumer of the group. A holder
that does not renew within the lease loses it to whoever claims first.
"""

from __future__ import annotations

from ngx_agents.coordination.scripts import Script

# keys: the four queues, served, standing; arguments: group, capacity, number of the queue from 1, parcel, ttl (ms)
# answer: -1 nobody serves, -2 full; the entry's id, and the parcel that was given up for it
# full: the newest waiting entry of the least urgent class goes, when that is less urgent than what comes
POST = Script("""
if redis.call('EXISTS', KEYS[5]) == 0 then return -1 end
local lying, held = 0, 0
for i = 1, 4 do
  local length = redis.call('XLEN', KEYS[i])
  if length > 0 then
    lying = lying + length
    local told = redis.pcall('XPENDING', KEYS[i], ARGV[1])
    if not told.err then held = held + told[1] end
  end
end
local own = tonumber(ARGV[3])
local displaced = false
if lying >= tonumber(ARGV[2]) then
  for i = 4, own + 1, -1 do
    local newest = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)[1]
    if newest and not redis.call('XPENDING', KEYS[i], ARGV[1], newest[1], newest[1], 1)[1] then
      redis.call('XDEL', KEYS[i], newest[1])
      displaced = newest[2][2]
      break
    end
  end
  if not displaced then return -2 end
end
if lying == held then
  local now = redis.call('TIME')
  redis.call('SET', KEYS[6], now[1] * 1000 + math.floor(now[2] / 1000), 'PX', ARGV[5])
end
return {redis.call('XADD', KEYS[own], '*', 'p', ARGV[4]), displaced}
""")

# keys: a queue; arguments: group, consumer, entry; answer: 1 when it was still this consumer's
END = Script("""
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not held or held[2] ~= ARGV[2] then return 0 end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return redis.call('XDEL', KEYS[1], ARGV[3])
""")

# keys: a queue; arguments: group, consumer, how long they have been idle then (ms), entries…
# answer: the entries that are another's by now
RENEW = Script("""
local lost = {}
for i = 4, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  if held and held[2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
""")

# keys: a queue, dead; arguments: group, consumer, lease (ms), how many, attempts allowed, dead kept, dead kept for (ms)
# answer: {entry, attempt (0 given up), parcel} of each that its holder did not renew
CLAIM = Script("""
local found = {}
for _, held in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])) do
  local row = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], held[1])[1]
  if row then
    local parcel = row[2][2]
    local attempt = held[4] + 1
    if attempt > tonumber(ARGV[5]) then
      redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], '*', 'p', parcel, 'why', 'attempts')
      redis.call('PEXPIRE', KEYS[2], ARGV[7])
      redis.call('XACK', KEYS[1], ARGV[1], held[1])
      redis.call('XDEL', KEYS[1], held[1])
      attempt = 0
    end
    found[#found + 1] = {held[1], attempt, parcel}
  end
end
return found
""")

# keys: a queue, dead; arguments: group, consumer, entry, dead kept, dead kept for (ms), reason, parcel
BURY = Script("""
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], '*', 'p', ARGV[7], 'why', ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return redis.call('XDEL', KEYS[1], ARGV[3])
""")

# keys: a queue; arguments: group, entry; answer: who holds it, or nothing: then it is withdrawn
WITHDRAW = Script("""
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)[1]
if held then return held[2] end
redis.call('XDEL', KEYS[1], ARGV[2])
return ''
""")

# keys: a queue, standing; arguments: group, entry, idle (ms) from which a holder counts as gone, how long it may still
# wait (ms) usually, and under standing load, from when on the load stands (ms)
# answer: 0 withdrawn, or in how many ms to look again, -1 for one that somebody holds
GIVE_UP = Script("""
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)[1]
if held then
  if held[3] < tonumber(ARGV[3]) then return -1 end
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
else
  local now = redis.call('TIME')
  local since = tonumber(redis.call('GET', KEYS[2]) or '0')
  local standing = since > 0 and now[1] * 1000 + math.floor(now[2] / 1000) - since or 0
  local left = math.min(tonumber(ARGV[4]), math.max(tonumber(ARGV[6]) - standing, tonumber(ARGV[5])))
  if left > 0 then return left end
end
redis.call('XDEL', KEYS[1], ARGV[2])
return 0
""")

# keys: a queue; arguments: group, ttl (ms), how long consumers without entries are kept (ms)
# makes queue and group where they are missing, and forgets consumers that are long gone
PREPARE = Script("""
if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then redis.call('DEL', KEYS[1]) end
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for _, told in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local one = {}
  for i = 1, #told, 2 do one[told[i]] = told[i + 1] end
  if one.pending == 0 and one.idle > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], one.name)
  end
end
return 1
""")

# keys: dead, the four queues; arguments: entry in dead, number of the queue from 1, parcel as it is to be sent
# answer: 1 when it was there and waits again
REPLAY = Script("""
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1 + tonumber(ARGV[2])], '*', 'p', ARGV[3])
return 1
""")
