-- Make deliveries again that were given up: they are owed once more, as at the end of the job.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1... job ids
-- Returns: an outcome for each: owed | nothing (none was given up) | unknown | newer (a later version's record) |
--   damaged
if #ARGV < 1 then error('expected ids') end
local now = clock()
local answer = {}
for i = 1, #ARGV do
  local job, problem = read(ARGV[i])
  if job and job.undelivered then
    local change = RECORD{owed = job.owed or ''}
    for kind in string.gmatch(job.undelivered, '.') do
      if not string.find(change.owed, kind, 1, true) then change.owed = change.owed .. kind end
    end
    if job.phase then change.lookup_at = next_lookup_at(job) end
    outdate_deliveries(job, change)
    change.delivery_fence = tonumber(job.delivery_fence or 0) + 1
    if string.find(change.owed, 'n', 1, true) then note_notification(job, change, 'p', now) end
    save(job, change)
    schedule_delivery(job, now)
    answer[i] = 'owed'
  else
    answer[i] = job and 'nothing' or problem or 'unknown'
  end
end
return answer
