-- Check that the list of bulk actions under way has an action exactly while it is running; correct it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 id of the bulk action
-- Returns: {} where it is right, {'bulk'}, or {'broken'} where its description is incomplete
arity(2)
local id = ARGV[2]
local text, state, filter, began, before, of, index, cursor =
  unpack(redis.call('HMGET', KEY.bulk .. id, 'asked', 'state', 'filter', 'began', 'before', 'of', 'index', 'cursor'))
local readable = text and state and filter and began and before and of and index and cursor
  and pcall(cjson.decode, text) and pcall(cjson.decode, filter) and tonumber(began) and tonumber(before)
if redis.call('EXISTS', KEY.bulk .. id) == 1 and not readable then return {'broken'} end
local is_listed = redis.call('ZSCORE', KEY.bulks, id) and true or false
if is_listed == (state == 'running') then return {} end
if ARGV[1] == '1' then
  if is_listed then redis.call('ZREM', KEY.bulks, id) else redis.call('ZADD', KEY.bulks, whole(clock()), id) end
end
return {'bulk'}
