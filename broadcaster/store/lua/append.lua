#!lua
-- append: take single messages into their stream, which begins if it isn't there: each item's batches, or none of them.
--
-- ARGV[3] print: what all messages of the stream have in common  ARGV[4] id of the stream, if one has to begin
-- ARGV[5] msgpack: its facts (streams.lua)
-- ARGV[6] opt-out epoch that the caller has seen
-- ARGV[7] msgpack: list of items [memo, number, seconds, batches, turn]: the answer is kept for so long under the name
--   `memo`. The same number gets the same answer again and changes nothing; a lower one comes late, over a connection that
--   its caller has given up, and gets 'late'. So does one whose request's answer is kept (once.lua) in its `turn`, if it is
--   not '': that has taken the memo's place. Batches: as streams.lua writes them.
-- Returns msgpack: for each item [verdict, stream, batches, known]: 'ok', and the names of its batches in order; known 1
--   where the answer was there. 'late'. 'optouts': there are other opt-outs than the caller knows. 'server': nobody has
--   asked guard.lua yet whether this server has lost writes. Else the id is taken by a stream in the state that is told:
--   name another.
-- A paused stream takes messages, which wait. One that is canceled, or being removed, takes none, nor does one that
-- began before this server did or had lost writes: what is lost with a server's last writes are names of batches, which
-- workers may remember with what was in them, and which must never be given again.

local S = stream(ARGV[3], ARGV[4], ARGV[6], ARGV[5])
local refused

local function take(item)
  local memo, number = P .. 'append:' .. item[1], item[2]
  local last = redis.call('HMGET', memo, 'number', 'answer')
  if last[1] and number < tonumber(last[1]) then return {'late', '', {}, 0} end
  if last[1] and number == tonumber(last[1]) then
    local known = cmsgpack.unpack(last[2])
    known[4] = 1
    return known
  end
  if item[5] ~= '' and redis.call('TYPE', P .. 'once:' .. item[5]).ok == 'string' then return {'late', '', {}, 0} end
  if not S.bid and not refused then refused = open_stream(S) end
  if refused then return {refused, S.bid or '', {}, 0} end
  local names = {}
  for i, b in ipairs(item[4]) do names[i] = write_batch(S, b) end
  local answer = {'ok', S.bid, names, 0}
  redis.call('HSET', memo, 'number', number, 'answer', cmsgpack.pack(answer))
  redis.call('EXPIRE', memo, item[3])
  return answer
end

local answers = {}
for i, item in ipairs(cmsgpack.unpack(ARGV[7])) do answers[i] = take(item) end
close_stream(S)
return cmsgpack.pack(answers)
