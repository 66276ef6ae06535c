-- Claim the deliveries of those jobs that have ended and still owe some, unless they wait until its results are saved.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lease in µs
--       2... job ids
-- Returns: for each claimed job its record as JSON, with `id` and `now` (µs). `fence` is the token of this claim:
--   deliveries have their own, so this disturbs no claim of the job itself.
-- A second run claims anew and refuses the holder of the first claim, unless that one is sending the notification
-- (begin_notification.lua). At worst Celery messages are sent twice.
if #ARGV < 2 then error('expected a lease and ids') end
local now = clock()
local answer = {}
for i = 2, #ARGV do
  local job = read(ARGV[i])
  if job and job.owed and not is_held(job) then
    guarded(job.id, now, function()
      claim_owed(job, now, tonumber(ARGV[1]))
      answer[#answer + 1] = cjson.encode(job)
    end)
  end
end
return answer
