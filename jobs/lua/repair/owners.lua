-- Whose jobs these are: the name of the producer's key that each came with; a job in a batch has its batch's.
-- ARGV: ids...
-- Returns: {name ('' where it came without a key), or nil where there is no such job, for each}; of several, damaged ones
-- are left out as if they were not there
if #ARGV < 1 then error('expected ids') end
local names = {}
for i, id in ipairs(ARGV) do
  local told = redis.pcall('HMGET', KEY.job .. id, FIELD.state, FIELD.batch, FIELD.owner)
  local state, batch, owner = told[1], told[2], told[3]
  if #ARGV == 1 and not state and redis.call('EXISTS', KEY.job .. id) == 1 then damaged('job ' .. id, 'it lacks its state') end
  names[i] = state and owner_of_job(RECORD{batch = batch or nil, owner = owner or nil}) or false
end
return names
