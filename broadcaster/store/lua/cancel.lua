#!lua flags=allow-oom
-- cancel: nothing of this broadcast, and of the SMS that follow from it, leaves any more. Its unsent records are skipped by
-- skip.lua, batch by batch; those that Twilio keeps back until their hour are canceled there (workers/recalling.py).
--
-- ARGV[3] broadcast  ARGV[4] reason a person can read
-- Returns 'ok', or the state that forbids it ('gone' if unknown).

local bid = ARGV[3]
local key = bc_key(bid)
local v = redis.call('HMGET', key, 'state', 'cls')
local state = v[1]
if not state then return 'gone' end
-- all of it is with Twilio, which keeps it back
local handed = redis.call('ZSCORE', P .. 'handed', bid)
local waits = state == 'completed' and handed and tonumber(handed) > now_s
if not waits and state ~= 'running' and state ~= 'paused' and state ~= 'draft' and state ~= 'scheduled' then return state end
local function end_one(one)
  redis.call('HSET', bc_key(one), 'state', 'canceled', 'reason', ARGV[4], 'finished', now_s)
  for _, lane in ipairs(redis.call('LRANGE', bc_key(one) .. ':lanes', 0, -1)) do
    redis.call('ZREM', class_key(lane, v[2]), one)
    redis.call('ZREM', later_key(lane), one)
  end
  redis.call('SREM', P .. 'active', one)
  redis.call('SADD', P .. 'skipping', one)
end
end_one(bid)
for _, child in ipairs(fallbacks_of(bid)) do
  local its = redis.call('HGET', bc_key(child), 'state')
  -- one that is completed, too: what failed of it may go again by itself, or a person let it
  if its == 'running' or its == 'paused' or its == 'completed' then end_one(child) end
end
redis.call('ZREM', P .. 'scheduled', bid)
broadcast_changed('broadcast.completed', bid, state, 'canceled', ARGV[4])
publish()
return 'ok'
