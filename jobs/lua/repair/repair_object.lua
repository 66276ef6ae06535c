-- Whether the bytes of a stored image, where Redis keeps them, are gone; and forget the image, so that an upload brings it
-- back.
-- ARGV: '1' to mend ('0': only look), hash, object
-- Returns: {'lost'} where it names an object that is not there, else {}
arity(3)
local hash, object = ARGV[2], ARGV[3]
local about = redis.call('HGET', KEY.kept, hash)
local kept = about and cjson.decode(about)
if not kept or kept.object ~= object or redis.call('EXISTS', KEY.object .. object) == 1 then return {} end
if ARGV[1] == '1' then drop_image(hash, kept, clock()) end
return {'lost'}
