-- opt_out_changes: stands behind the prelude of scripts that change opt-outs or read their log (scripts.py names them).
--
-- Each change is one line of the log, EPOCH|+SCOPE|ADDRESS (or -; or =SENDER|SERVICE), with the next epoch, so that a
-- reader knows which lines it has missed. `hashed` is the field under which a forgotten person would be known, or ''.

-- so many changes can be read by themselves
local OPT_OUT_LOG = 10000
local opt_out_epoch
local function note_opt_out(line, scoped, source)
  opt_out_epoch = (opt_out_epoch or tonumber(redis.call('GET', P .. 'optouts:epoch') or 0)) + 1
  redis.call('RPUSH', P .. 'optouts:log', opt_out_epoch .. '|' .. line .. scoped)
  if source and asks_for('opt_out.changed') then
    happened[#happened + 1] = {'opt_out.changed', {line == '+' and 'add' or 'remove', scoped, source}}
  end
end

-- Who is there keeps the first source and time.
local function add_opt_out(scoped, hashed, source, since_s)
  if hashed ~= '' and redis.call('HEXISTS', P .. 'optouts', hashed) == 1 then return 0 end
  if redis.call('HSETNX', P .. 'optouts', scoped, source .. '|' .. since_s) == 0 then return 0 end
  redis.call('SADD', P .. 'optouts:scopes', string.match(scoped, '^(.-)|'))
  note_opt_out('+', scoped, source)
  return 1
end

-- A worker may still hold the number in clear of one who was hashed: a line names it.
local function remove_opt_out(scoped, hashed)
  local clear = redis.call('HDEL', P .. 'optouts', scoped)
  local hash = hashed ~= '' and redis.call('HDEL', P .. 'optouts', hashed) or 0
  if clear + hash == 0 then return 0 end
  note_opt_out('-', scoped, '')
  if hash == 1 then note_opt_out('-', hashed) end
  return 1
end

-- Once all changes are made: nobody's gate passes by an older epoch.
local function keep_opt_outs()
  if not opt_out_epoch then return end
  redis.call('SET', P .. 'optouts:epoch', string.format('%.0f', opt_out_epoch))
  redis.call('LTRIM', P .. 'optouts:log', -OPT_OUT_LOG, -1)
end
