-- Read the owners of jobs: the name of the producer's key that a job came with; a job in a batch has its batch's.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1... job ids
-- Returns: for each the name ('' where it came without a key), or nil where there is no such job. Of several jobs, a
--   damaged one is answered like one that does not exist.
if #ARGV < 1 then error('expected ids') end
local names = {}
for i, id in ipairs(ARGV) do
  local stored = redis.pcall('HMGET', KEY.job .. id, FIELD.state, FIELD.batch, FIELD.owner)
  local state, batch, owner = stored[1], stored[2], stored[3]
  if #ARGV == 1 and not state and redis.call('EXISTS', KEY.job .. id) == 1 then
    damaged('job ' .. id, 'it lacks its state')
  end
  names[i] = state and owner_of_job(RECORD{batch = batch or nil, owner = owner or nil}) or false
end
return names
