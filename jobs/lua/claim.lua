-- A worker takes admitted jobs to submit them: lease and fence are written before the first byte leaves.
-- ARGV: lease in µs, ids...
-- Returns: {{id, fence, attempt, tries, text, lane}...}; ids that are not admitted (any more) are left out
-- A lost reply costs time, not money: the lease ends, the job is in doubt and looked up.
if #ARGV < 2 then error('expected a lease and ids') end
local lease = tonumber(ARGV[1])
local now = clock()
local holds = {}
local function held(lane)
  if holds[lane] == nil then holds[lane] = shut(lane, now) end
  return holds[lane]
end
local answer = {}
for i = 2, #ARGV do
  local job = load(ARGV[i])
  if job and job.s == 'queued' and job.w then
    if too_late(job, now) then
      expire_unpaid(job, now)
    elseif held(job.w) or (job.b and halted(job.b)) then
      put_back(job)
    else
      local fence = tonumber(job.f or 0) + 1
      local lane = job.w
      move(job, 'submitting', {f = fence, q = '1', L = lane ~= DEFAULT_LANE and lane}, now, now + lease)
      answer[#answer + 1] = {job.id, job.f, job.a or '1', job.k or '0', redis.call('GET', KEY.text .. job.id) or '', lane}
    end
  end
end
return answer
