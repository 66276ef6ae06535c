-- Check that the bytes of a stored image are there, where Redis is the image store. Forget the image where they are
-- not, so that an upload restores it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 hash of the image
--       3 object
-- Returns: {'lost'} where the image names an object that is not there, else {}
arity(3)
local hash, object = ARGV[2], ARGV[3]
local about = redis.call('HGET', KEY.kept, hash)
local kept = about and cjson.decode(about)
if not kept or kept.object ~= object or redis.call('EXISTS', KEY.object .. object) == 1 then return {} end
if ARGV[1] == '1' then drop_image(hash, kept, clock()) end
return {'lost'}
