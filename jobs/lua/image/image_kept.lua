-- Record that an object is complete: it is the image from now on, unless another copy is already.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 hash of the image
--       2 object
--       3 description as JSON (jobs.images.images)
--       4 the producer that uploaded it; '' for none
--       5 '1' where a new image counts in the stored bytes of that producer
-- Returns: 'kept' | 'known' (the producer had it: this object is removed) | 'shared' (another producer had it: likewise)
--   | 'late' (it may have been removed)
arity(5)
local hash, object, now = ARGV[1], ARGV[2], clock()
local there = redis.call('HGET', KEY.kept, hash)
if there then
  touch_image(hash, now)
  if cjson.decode(there).object == object then return 'kept' end
  redis.call('ZADD', KEY.going, whole(now), object)
  if note_holder(hash, ARGV[4]) then return 'shared' end
  return 'known'
end
-- An object that is due may be being removed just now.
local goes = redis.call('ZSCORE', KEY.going, object)
if not goes or tonumber(goes) <= now then return 'late' end
redis.call('ZREM', KEY.going, object)
redis.call('HSET', KEY.kept, hash, ARGV[3])
if ARGV[4] ~= '' then note_holder(hash, ARGV[4], true) end
redis.call('HINCRBY', KEY.totals, 'image_bytes', cjson.decode(ARGV[3]).size)
if ARGV[4] ~= '' and ARGV[5] == '1' then
  redis.call('HSET', KEY.image_owners, hash, ARGV[4])
  count_held(KEY.stored_images, ARGV[4], cjson.decode(ARGV[3]).size)
end
redis.call('ZADD', KEY.images, redis.call('HEXISTS', KEY.uses, hash) == 1 and '+inf' or whole(now), hash)
return 'kept'
