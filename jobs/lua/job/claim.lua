-- Claim admitted jobs for submission. The lease and the fencing token are written before the first byte is sent, so a
-- lost answer costs time and no money: the lease ends, the job is in doubt, and it is looked up.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lease in µs
--       2 '1' where a restart of Redis counts as a loss of data
--       3... job ids
-- Returns: {{id, fence, attempt, submit tries, request, lane, 1 where an earlier submission may have arrived}...}. Left out are jobs that are not admitted (any more),
--   and jobs that may have been sent before a loss of data: those are in doubt now.
if #ARGV < 3 then error('expected a lease, a flag and ids') end
local lease = tonumber(ARGV[1])
local now = clock()
expect_installation()
-- Where a restart is no loss of data by itself, a worker first compares the data with what workers have seen
-- (standing.lua).
if ARGV[2] ~= '1' and epoch().run and epoch().run ~= run_id() then error('REFUSED [restarted] []') end
notice_restart(now, lease, ARGV[2])
local holds = {}
local function held(lane)
  if holds[lane] == nil then holds[lane] = is_closed(lane, now) end
  return holds[lane]
end
local answer = {}
local function claimed(job)
  if has_expired(job, now) then
    expire_unpaid(job, now)
  elseif held(job.admitted_by) or is_halted(kind_of(job), job.batch) then
    put_back(job)
  else
    local lane = job.admitted_by
    local change = RECORD{fence = next_fence(job), sent = '1', lane = lane ~= DEFAULT_LANE and lane}
    if needs_lookup(job) then
      change.reason = 'Redis may have forgotten that it was sent: looked up first'
      move(job, 'in_doubt', set_epoch_doubt(change), now, now)
    else
      if job.started_at then change.starts = tonumber(job.starts or 1) + 1 end
      change.started_at = now
      move(job, 'submitting', change, now, now + lease)
      answer[#answer + 1] = {job.id, job.fence, job.attempt or '1', job.submit_tries or '0',
        redis.call('GET', KEY.text .. job.id) or '', lane, job.maybe_sent and 1 or 0}
    end
  end
end
for i = 3, #ARGV do
  local job = read(ARGV[i])
  if job and job.state == 'queued' and job.admitted_by then guarded(job.id, now, function() claimed(job) end) end
end
return answer
