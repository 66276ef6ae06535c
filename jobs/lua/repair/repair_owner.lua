-- Check that a job or a batch is in the index of its producer; correct it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 'job' | 'batch'
--       3 owner; of a batch that has none and of a job: ''
--       4 id
-- Returns: {'owner'} where it is wrong, else {}
arity(4)
local repair, of, owner, id = ARGV[1] == '1', ARGV[2], ARGV[3], ARGV[4]
if of == 'job' then
  local job, problem = read(id)
  if not job or problem then return {} end
  owner = owner_of_job(job)
  local at = tonumber(job.created_at)
  if not lacks_span(owner, at) then return {} end
  if repair then redis.call('ZADD', KEY.spans .. owner, job.created_at, job.created_at) end
  return {'owner'}
end
local index = KEY.batches_of .. owner
local created, key = unpack(redis.call('HMGET', KEY.batch .. id, 'created', 'key'))
local should, there = (key or '') == owner and tonumber(created or nil) or nil, tonumber(redis.call('ZSCORE', index, id) or nil)
if there == should or should and not there and should < read_number(KEY.totals, 'indexed_from') then return {} end
if repair and should then redis.call('ZADD', index, whole(should), id) end
if repair and not should then redis.call('ZREM', index, id) end
return {'owner'}
