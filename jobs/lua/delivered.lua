-- A delivery was made, or failed and is tried again later.
-- ARGV: id, fence of the claim, kind (one letter), µs until the next try ('' when it was made), how many tries that were
-- Returns: 'clear' | 'owed' | 'refused'
arity(5)
local job = load(ARGV[1])
if not job or not job.g or (job.j or '0') ~= ARGV[2] then return 'refused' end
local now = clock()
if ARGV[4] ~= '' then
  save(job, {h = ARGV[5]})
  deliver_at(job, now + tonumber(ARGV[4]))
  return 'owed'
end
local left = string.gsub(job.g, ARGV[3], '')
if left ~= '' then
  -- The one who makes the deliveries goes on with the next; its lease, or the time of another's next try, stands.
  save(job, {g = left})
  return 'owed'
end
local look = job.p and tonumber(job.z) or false
save(job, {g = false, h = false, z = false, i = false})
alarm(job, look)
return 'clear'
