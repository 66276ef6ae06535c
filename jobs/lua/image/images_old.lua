-- Forget images that no unfinished job names and that were not needed for long, and tell which objects are to be removed
-- from the image store. They are told again until images_gone.lua says that they are: who died on the way leaves none.
-- ARGV: retention in µs, most images, most objects
-- Returns: objects
arity(3)
local now = clock()
for _, hash in ipairs(redis.call('ZRANGEBYSCORE', KEY.images, '-inf', whole(now - tonumber(ARGV[1])), 'LIMIT', 0, ARGV[2])) do
  local kept = redis.call('HGET', KEY.kept, hash)
  -- One that cannot be read stays, and is told of by the audit: nobody knows which object is its own.
  local readable, about = pcall(cjson.decode, kept or '{}')
  if not kept then
    redis.call('ZREM', KEY.images, hash)
  elseif readable and type(about) == 'table' and about.object and tonumber(about.size) then
    drop_image(hash, about, now)
  end
end
return redis.call('ZRANGEBYSCORE', KEY.going, '-inf', whole(now), 'LIMIT', 0, ARGV[3])
