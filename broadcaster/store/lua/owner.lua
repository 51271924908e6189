#!lua flags=allow-oom
-- owner: whose the installation is; nobody's becomes the asker's.
--
-- ARGV[3] who asks, 'AC… HOST' (domain/owner.py)
-- Returns whose it is, in the same form. Asked again: the same.

redis.call('SETNX', P .. 'owner', ARGV[3])
return redis.call('GET', P .. 'owner')
