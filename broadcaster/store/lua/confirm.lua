#!lua flags=allow-oom
-- confirm: write something, so that a WAIT behind it waits for all that this Redis has written until now.
--
-- Returns 1. Written also where memory is full: a SET that is refused would leave WAIT nothing to wait for.

redis.call('SET', P .. 'confirm', now_s)
return 1
