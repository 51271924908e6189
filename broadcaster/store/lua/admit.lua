#!lua flags=allow-oom
-- admit: may these keys make so many requests now? All requests of a process that came in the same moment ask at once.
--
-- ARGV[3] msgpack: list of [key id, requests, requests a second]
-- Returns [epoch of the keys, list of [requests allowed, requests that are left, µs until one more is there]].
-- A key's pace is GCRA with a burst of one second. Asked twice it counts twice: an answer that was lost was no request.

local BURST = 1000000
local answers = {}
for _, k in ipairs(cmsgpack.unpack(ARGV[3])) do
  local interval = 1000000 / k[3]
  local tat = math.max(tonumber(redis.call('HGET', P .. 'keys:tat', k[1]) or 0), now)
  local free = math.floor((now + math.max(BURST, interval) - tat) / interval + 0.000001)
  local allowed = math.min(k[2], math.max(0, free))
  if allowed > 0 then
    tat = tat + allowed * interval
    redis.call('HSET', P .. 'keys:tat', k[1], string.format('%.0f', tat))
    local used = tonumber(redis.call('HGET', P .. 'keys:used', k[1]) or 0)
    if now_s - used >= 60 then redis.call('HSET', P .. 'keys:used', k[1], now_s) end
  end
  local wait = math.max(0, math.ceil(tat + interval - now - math.max(BURST, interval)))
  answers[#answers + 1] = {allowed, math.max(0, free - allowed), wait}
end
return {redis.call('GET', P .. 'keys:epoch') or '', answers}
