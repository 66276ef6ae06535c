-- An object is whole: it is the image from now on, unless another copy already is.
-- ARGV: hash, object, what is kept of it as JSON (jobs.images.images)
-- Returns: 'kept' | 'known' (another copy is there: this one goes) | 'late' (it may be gone already)
arity(3)
local hash, object, now = ARGV[1], ARGV[2], clock()
local there = redis.call('HGET', KEY.kept, hash)
if there then
  touch_image(hash, now)
  if cjson.decode(there).object == object then return 'kept' end
  redis.call('ZADD', KEY.going, whole(now), object)
  return 'known'
end
-- One that is due may be under the hands of who removes it.
local goes = redis.call('ZSCORE', KEY.going, object)
if not goes or tonumber(goes) <= now then return 'late' end
redis.call('ZREM', KEY.going, object)
redis.call('HSET', KEY.kept, hash, ARGV[3])
redis.call('HINCRBY', KEY.totals, 'image_bytes', cjson.decode(ARGV[3]).size)
redis.call('ZADD', KEY.images, redis.call('HEXISTS', KEY.uses, hash) == 1 and '+inf' or whole(now), hash)
return 'kept'
