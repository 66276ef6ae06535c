-- Whose jobs these are: the name of the producer's key that each came with; a job in a batch has its batch's.
-- ARGV: ids...
-- Returns: {name ('' where it came without a key), or nil where there is no such job, for each}
if #ARGV < 1 then error('expected ids') end
local names = {}
for i, id in ipairs(ARGV) do
  local state, batch, owner = unpack(redis.call('HMGET', KEY.job .. id, 's', 'b', 'K'))
  names[i] = state and owner_of_job({b = batch or nil, K = owner or nil}) or false
end
return names
