#!lua flags=allow-oom
-- windows: keep ahead the hours at which broadcasts may send.
--
-- ARGV[3] msgpack: list of [broadcast, windows], windows its next openings as `opens_at` (prelude.lua) reads them
-- Returns msgpack: for each 'open' or 'closed' where that is news (and it has something to send), '' where it isn't,
--   'over' for a broadcast that needs none any more: it has ended, or there is no such.
-- Twice with the same input changes nothing the second time.

local answers, woken = {}, false

-- A flow that waits for another time than the next opening is looked at by then.
local function look_by(bid, cls, opens)
  for _, lane in ipairs(redis.call('LRANGE', bc_key(bid) .. ':lanes', 0, -1)) do
    local waits = redis.call('ZSCORE', later_key(lane), bid)
    if waits and tonumber(waits) > opens then
      if opens <= now then activate(bid, lane, cls)
      else
        redis.call('ZADD', later_key(lane), opens, bid)
        lane_due(lane, opens)
      end
      woken = true
    end
  end
end

for i, one in ipairs(cmsgpack.unpack(ARGV[3])) do
  local bid, windows = one[1], one[2]
  local key = bc_key(bid)
  local v = redis.call('HMGET', key, 'state', 'windows', 'cls', 'shut', 'n' .. QUEUED, 'n' .. RETRY)
  local state = v[1]
  if state ~= 'running' and state ~= 'paused' and state ~= 'draft' and state ~= 'scheduled' then
    redis.call('SREM', P .. 'windowed', bid)
    answers[i] = 'over'
  else
    if v[2] ~= windows then redis.call('HSET', key, 'windows', windows) end
    local opens = opens_at(windows)
    local told = opens > now and '1' or '0'
    answers[i] = ''
    if state == 'running' then
      if v[2] ~= windows then look_by(bid, v[3], opens) end
      if (v[4] or '0') ~= told and tonumber(v[5] or 0) + tonumber(v[6] or 0) > 0 then
        redis.call('HSET', key, 'shut', told)
        answers[i] = told == '1' and 'closed' or 'open'
      end
    end
  end
end
if woken then wake() end
return cmsgpack.pack(answers)
