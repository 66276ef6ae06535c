-- A delivery was made, or failed and is tried again later.
-- ARGV: id, fence, kind (one letter), µs until the next try ('' when it was made), µs until the next look at the provider
-- Returns: 'clear' | 'owed' | 'refused'
arity(5)
local job = load(ARGV[1])
if not job or not job.g or not fenced(job, ARGV[2]) then return 'refused' end
local now = clock()
if ARGV[4] ~= '' then
  save(job, {h = tonumber(job.h or 0) + 1})
  alarm(job, now + tonumber(ARGV[4]))
  return 'owed'
end
local left = string.gsub(job.g, ARGV[3], '')
save(job, {g = left ~= '' and left or false, h = false})
if job.g then
  alarm(job, now)
  return 'owed'
end
if job.p then alarm(job, now + tonumber(ARGV[5])) else alarm(job, false) end
return 'clear'
