#!lua flags=allow-oom
-- clock: notice that Redis' own clock was moved, and keep what waits for a time from waiting for the wrong one.
--
-- ARGV[3] what the clock should show by the caller's own, µs; 0 if it can't tell
-- ARGV[4] how far back it may go unnoticed (µs)  ARGV[5] how far ahead (µs)
-- Returns [how far it was moved in µs (negative: back; 0: it was not), now in µs]. Every worker asks once a second.
-- Moved back, all that waits for a moment waits that much less. Moved ahead, what was due later is due now, and does
-- no harm. Either way `moved` says since when stretches of time can be relied on: how long a message is in doubt, and
-- how long its owner was not seen, counts from there.
-- `back` (s) and `backed` (s) say how far it was moved back, together with what was less than a day before, and when: an
-- attempt of before has a time that is as much too late, and its own message is looked for from earlier on. By the caller's
-- own clock where that can tell: what Redis' showed last may be seconds old.
-- Asked twice the second time finds nothing moved back, as `last` is that of the first.

local key = P .. 'clock'
local last = tonumber(redis.call('HGET', key, 'last') or now)
redis.call('HSET', key, 'last', string.format('%.0f', now))
local expected, by = tonumber(ARGV[3]), now - last
if expected > 0 and now - expected > tonumber(ARGV[5]) then
  redis.call('HSET', key, 'moved', now_s)
  return {now - expected, now}
end
if by >= -tonumber(ARGV[4]) then return {0, now} end
local before = redis.call('HMGET', key, 'back', 'backed')
local back = math.ceil(math.max(-by, expected - now) / 1000000)
if before[1] and math.abs(now_s - tonumber(before[2])) < 86400 then back = back + tonumber(before[1]) end
redis.call('HSET', key, 'moved', now_s, 'back', back, 'backed', now_s)

-- A time of the old clock is that much too late; one that has come by the old clock is now. The few that were written
-- since the clock moved can't be told apart, and come early.
local function sooner(at)
  at = tonumber(at)
  return at > now and math.max(now, at + by) or nil
end
local function sooner_field(hash, field)
  local at = redis.call('HGET', hash, field)
  local new = at and at ~= '' and sooner(at)
  if new then redis.call('HSET', hash, field, string.format('%.0f', new)) end
end
local function sooner_members(zset)
  local found = redis.call('ZRANGEBYSCORE', zset, '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
  for i = 1, #found, 2 do redis.call('ZADD', zset, sooner(found[i + 1]), found[i]) end
end

-- A lease that was renewed since is right as it is.
for _, worker in ipairs(redis.call('ZRANGE', P .. 'workers', 0, -1)) do
  local hash = P .. 'worker:' .. worker
  local seen = tonumber(redis.call('HGET', hash, 'seen') or 0)
  if seen > now_s + 1 then
    redis.call('ZINCRBY', P .. 'workers', string.format('%.0f', by), worker)
    redis.call('HSET', hash, 'seen', math.floor(seen + by / 1000000))
  end
end
-- whoever holds one of these takes it anew in seconds: a key's end is a moment of this clock, too
redis.call('DEL', P .. 'overdue', P .. 'settling', P .. 'polling', P .. 'following', P .. 'recalling')
-- asked for too early at worst (these are in seconds)
for _, bid in ipairs(redis.call('ZRANGEBYSCORE', P .. 'polls', '(' .. now_s, '+inf')) do
  redis.call('ZINCRBY', P .. 'polls', string.format('%.0f', by / 1000000), bid)
end
redis.call('HDEL', P .. 'account', 'moved')
sooner_field(P .. 'account', 'tat')
sooner_members(P .. 'due')
for _, lane in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
  sooner_field(lane_key(lane), 'tat')
  sooner_field(lane_key(lane), 'hold')
  sooner_members(later_key(lane))
end
for _, all in ipairs({'bcs', 'streams'}) do
  for _, bid in ipairs(redis.call('ZRANGE', P .. all, 0, -1)) do
    local state = redis.call('HGET', bc_key(bid), 'state')
    if state == 'running' or state == 'paused' then
      sooner_field(bc_key(bid), 'tat')
      for _, lane in ipairs(redis.call('LRANGE', bc_key(bid) .. ':lanes', 0, -1)) do
        sooner_members(flow_key(bid, lane) .. ':retry')
      end
    end
  end
end
wake()
return {by, now}
