-- Register an object before it is written to the image store, so that it is removed if its writer dies. An object's
-- name is used once: what is removed can never be a newer copy of the same image.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 object
--       2 µs within which it must be complete
-- Returns: 'begun'
arity(2)
redis.call('ZADD', KEY.going, whole(clock() + tonumber(ARGV[2])), ARGV[1])
return 'begun'
