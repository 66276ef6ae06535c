-- Claim, of some jobs, those that have ended and still owe a delivery.
-- ARGV: lease in µs, ids...
-- Returns: one record as JSON for each, `f` being this claim's fence: it does not disturb who holds the job's own
-- A second run is a claim anew: whoever held the first is refused, and the delivery is made once more at worst.
if #ARGV < 2 then error('expected a lease and ids') end
local now = clock()
local answer = {}
for i = 2, #ARGV do
  local job = read(ARGV[i])
  if job and job.owed then
    guarded(job.id, now, function()
      save(job, RECORD{delivery_fence = tonumber(job.delivery_fence or 0) + 1})
      schedule_delivery(job, now + tonumber(ARGV[1]))
      job.now, job.fence = whole(now), job.delivery_fence
      answer[#answer + 1] = cjson.encode(job)
    end)
  end
end
return answer
