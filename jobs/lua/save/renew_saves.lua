-- Extend the leases of saves under way: a big file takes longer than a lease.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lease in µs
--       2... job id, fence of its claim, and so on
-- Returns: how many leases were extended; an older fence extends none
-- A repeat only sets a later time.
if #ARGV < 3 then error('expected a lease, ids and fences') end
local lease_end, renewed = clock() + tonumber(ARGV[1]), 0
for i = 2, #ARGV, 2 do
  local job = read(ARGV[i])
  if job and job.save_since and job.save_fence == ARGV[i + 1] then
    local queue = save_queue_of(job)
    save(job, RECORD{save_at = lease_end})
    redis.call('ZADD', KEY.save_queue .. queue, whole(lease_end), job.id)
    redis.call('ZADD', KEY.saving, whole(lease_end), queue .. '|' .. job.id)
    renewed = renewed + 1
  end
end
return renewed
