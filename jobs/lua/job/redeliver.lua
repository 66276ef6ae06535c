-- Try deliveries again that were given up: they are owed once more, as at the job's end.
-- ARGV: ids...
-- Returns: a word for each: owed | nothing (none of it was given up) | unknown | newer (a record of a later version) | damaged
if #ARGV < 1 then error('expected ids') end
local now = clock()
local answer = {}
for i = 1, #ARGV do
  local job, odd = read(ARGV[i])
  if job and job.U then
    local change = {g = job.g or '', h = false, j = tonumber(job.j or 0) + 1}
    for kind in string.gmatch(job.U, '.') do
      if not string.find(change.g, kind, 1, true) then change.g = change.g .. kind end
    end
    if job.p then change.z = next_lookup_at(job) end
    forget_undelivered(job, change)
    save(job, change)
    schedule_delivery(job, now)
    answer[i] = 'owed'
  else
    answer[i] = job and 'nothing' or odd or 'unknown'
  end
end
return answer
