"""What the carrier does in Redis at once, as Lua. Keys and arguments stand above each script.

An entry is in a queue until its reply was sent: waiting (not delivered) or held by a consumer of the group. A holder
that does not renew within the lease loses it to whoever claims first.
"""

from __future__ import annotations

from ngx_agents.coordination.scripts import Script

# keys: the four queues, served; arguments: capacity, number of the queue from 1, parcel
# answer: the entry's id, or -1 nobody serves, -2 full
POST = Script("""
if redis.call('EXISTS', KEYS[5]) == 0 then return -1 end
local lying = 0
for i = 1, 4 do lying = lying + redis.call('XLEN', KEYS[i]) end
if lying >= tonumber(ARGV[1]) then return -2 end
return redis.call('XADD', KEYS[tonumber(ARGV[2])], '*', 'p', ARGV[3])
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

# keys: a queue; arguments: group, entry, idle (ms) from which a holder counts as gone, 0 never
# answer: who holds it, or nothing: then it is withdrawn
WITHDRAW = Script("""
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)[1]
local gone_ms = tonumber(ARGV[3])
if held and (gone_ms == 0 or held[3] < gone_ms) then return held[2] end
if held then redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('XDEL', KEYS[1], ARGV[2])
return ''
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
