-- A look changed nothing: look again later.
-- ARGV: id, fence, µs until then, '1' to count the look, reason or '' to leave it
-- Returns: 'set' | 'refused'
arity(5)
local job = load(ARGV[1])
if not job or not fenced(job, ARGV[2]) or not phase(job) then return 'refused' end
local change = {}
if ARGV[4] == '1' then change.l = tonumber(job.l or 0) + 1 end
if ARGV[5] ~= '' then change.r = ARGV[5] end
save(job, change)
local now = clock()
alarm(job, job.g and now or now + tonumber(ARGV[3]))
return 'set'
