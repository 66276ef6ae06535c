-- Check that a job, or a batch, stands in the index of a label exactly where it has that label; correct it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 'job' | 'batch'
--       3 label as `<name>=<value>`
--       4 id
-- Returns: {'label'} where it is wrong, else {}
arity(4)
local of, label, id = ARGV[2], ARGV[3], ARGV[4]
local index, created, labels
if of == 'job' then
  index, created, labels = KEY.labelled .. label, redis.call('HGET', KEY.job .. id, FIELD.created_at),
    redis.call('GET', KEY.labels .. id)
else
  index = KEY.grouped .. label
  created, labels = unpack(redis.call('HMGET', KEY.batch .. id, 'created', 'labels'))
end
local name, value = string.match(label, '^([^=]*)=(.*)$')
local should = created and labels and cjson.decode(labels)[name] == value and tonumber(created) or nil
local there = tonumber(redis.call('ZSCORE', index, id) or nil)
if there == should then return {} end
if ARGV[1] == '1' and should then redis.call('ZADD', index, whole(should), id) end
if ARGV[1] == '1' and not should then redis.call('ZREM', index, id) end
return {'label'}
