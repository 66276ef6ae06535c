-- A worker takes admitted jobs to submit them: lease and fence are written before the first byte leaves.
-- ARGV: lease in µs, ids...
-- Returns: {{id, fence, attempt, tries, text}...}; ids that are not admitted (any more) are left out
-- A lost reply costs time, not money: the lease ends, the job is in doubt and looked up.
if #ARGV < 2 then error('expected a lease and ids') end
local lease = tonumber(ARGV[1])
local now = clock()
local held = lane('hold') > now
local answer = {}
for i = 2, #ARGV do
  local job = load(ARGV[i])
  if job and job.s == 'queued' and job.w then
    if held or halted(job.b or '') then
      leave_window(job)
      ready(job)
    else
      local fence = tonumber(job.f or 0) + 1
      move(job, 'submitting', {f = fence, q = '1'}, now, now + lease)
      answer[#answer + 1] = {job.id, job.f, job.a or '1', job.k or '0', redis.call('GET', KEY.text .. job.id) or ''}
    end
  end
end
return answer
