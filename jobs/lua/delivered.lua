-- A delivery was made, or failed and is tried again later.
-- ARGV: id, fence of the claim, kind (one letter), µs until the next try ('' when it was made), how many tries that were
-- Returns: 'clear' | 'owed' | 'refused'
arity(5)
local job = load(ARGV[1])
if not job or not job.g or (job.j or '0') ~= ARGV[2] then return 'refused' end
if ARGV[4] == '' then return deliver_done(job, ARGV[3]) end
if string.find(job.g, ARGV[3], 1, true) then
  save(job, {h = ARGV[5]})
  deliver_at(job, clock() + tonumber(ARGV[4]))
end
return 'owed'
