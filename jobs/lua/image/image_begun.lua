-- Before an object is written to the image store: should its writer die, it goes. An object has a name of its own, which
-- is used once: what is removed can never be a newer copy of the same image.
-- ARGV: object, µs within which it must be whole
-- Returns: 'begun'
arity(2)
redis.call('ZADD', KEY.going, whole(clock() + tonumber(ARGV[2])), ARGV[1])
return 'begun'
