-- Check that a job stands among the results to save of its batch, or among those given up there, exactly where its record
-- says so. Correct it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 batch id
--       3 job id
-- Returns: {'batch_saves'}, {'batch_unsaved'} or both where something is wrong, else {}
-- An event of the batch that waited only for a wrong entry is owed.
arity(3)
local repairs, batch, id, now, problems = ARGV[1] == '1', ARGV[2], ARGV[3], clock(), {}
local job, problem = read(id)
if problem then return problems end
local is_here = job and job.batch == batch
local to_save, unsaved = is_here and job.save_since, is_here and job.unsaved
if (redis.call('SISMEMBER', KEY.batch_saves .. batch, id) == 1) ~= (to_save and true or false) then
  problems[#problems + 1] = 'batch_saves'
  if repairs and to_save then redis.call('SADD', KEY.batch_saves .. batch, id) end
  if repairs and not to_save then
    redis.call('SREM', KEY.batch_saves .. batch, id)
    note_batch_saved(batch, now)
  end
end
if (redis.call('ZSCORE', KEY.batch_unsaved .. batch, id) and true or false) ~= (unsaved and true or false) then
  problems[#problems + 1] = 'batch_unsaved'
  if repairs and unsaved then redis.call('ZADD', KEY.batch_unsaved .. batch, unsaved, id) end
  if repairs and not unsaved then redis.call('ZREM', KEY.batch_unsaved .. batch, id) end
end
return problems
