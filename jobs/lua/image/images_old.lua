-- Forget images that no unfinished job names and that were not used for the retention; return the objects to remove
-- from the image store. An object is returned again until images_gone.lua records its removal, so a crash leaves none
-- behind.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 retention in µs
--       2 most images
--       3 most objects
-- Returns: objects
arity(3)
local now = clock()
for _, hash in ipairs(redis.call('ZRANGEBYSCORE', KEY.images, '-inf', whole(now - tonumber(ARGV[1])),
  'LIMIT', 0, ARGV[2])) do
  local kept = redis.call('HGET', KEY.kept, hash)
  -- An image whose description cannot be read stays, because its object is not known; the audit reports it.
  local readable, about = pcall(cjson.decode, kept or '{}')
  if not kept then
    redis.call('ZREM', KEY.images, hash)
  elseif readable and type(about) == 'table' and about.object and tonumber(about.size) then
    drop_image(hash, about, now)
  end
end
return redis.call('ZRANGEBYSCORE', KEY.going, '-inf', whole(now), 'LIMIT', 0, ARGV[3])
