#!lua flags=allow-oom
-- optout_tail: what has changed of opt-outs and pools since an epoch, read in one step with the epoch of now.
--
-- ARGV[3] epoch that the caller knows, '' for none
-- Returns [epoch, whole, lines]: whole 1 where the log doesn't reach back so far: all has to be read.

local log = P .. 'optouts:log'
local epoch = redis.call('GET', P .. 'optouts:epoch') or '0'
local missed = tonumber(epoch) - (tonumber(ARGV[3]) or -1)
if ARGV[3] == '' or missed < 0 or missed > OPT_OUT_LOG then return {epoch, 1, {}} end
if missed == 0 then return {epoch, 0, {}} end
local lines = redis.call('LRANGE', log, -missed, -1)
if #lines < missed or string.match(lines[1], '^(%d+)|') ~= string.format('%.0f', tonumber(ARGV[3]) + 1) then
  return {epoch, 1, {}}
end
return {epoch, 0, lines}
