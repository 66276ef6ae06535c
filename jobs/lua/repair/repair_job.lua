-- Check that everything beside a record agrees with it: alarm, indexes, labels, reservation, parked messages; correct
-- it. Corrections follow from the record alone, so they may be made at any time, and twice.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 µs until a submission without an alarm counts as over
--       3 job id
-- Returns: a rule for each thing that is wrong (jobs.audit.records); `request` cannot be repaired
arity(3)
local repair, id, now, problems = ARGV[1] == '1', ARGV[3], clock(), {}
local job, problem = read(id)
if problem then return problems end
-- Note a broken rule. Returns whether to correct it.
local function note_problem(rule) problems[#problems + 1] = rule; return repair end
-- Check that the id stands in a sorted set at a time; nil: that it does not stand there.
local function check_index(rule, key, score)
  local there = tonumber(redis.call('ZSCORE', key, id) or nil)
  score = tonumber(score or nil)
  if there == score or not note_problem(rule) then return end
  if score then redis.call('ZADD', key, whole(score), id) else redis.call('ZREM', key, id) end
end

for state in pairs(ALLOWED) do
  check_index('index', KEY.state .. state, job and job.state == state and job.created_at)
end
check_index('doubt', KEY.doubts, job and job.doubt_since)
check_index('unreadable', KEY.unreadable, job and job.unreadable_since)
local given_up = redis.call('ZSCORE', KEY.undelivered, id)
if (given_up and true or false) ~= (job and job.undelivered and true or false) then
  check_index('undelivered', KEY.undelivered, job and job.undelivered and now)
end
check_index('save', KEY.saves, job and job.save_since)
local unsaved = redis.call('ZSCORE', KEY.unsaved, id)
if (unsaved and true or false) ~= (job and job.unsaved and true or false) then
  check_index('unsaved', KEY.unsaved, job and job.unsaved)
end
local unknown_cost = redis.call('ZSCORE', KEY.unknown_costs, id)
if (unknown_cost and true or false) ~= (job and job.unknown_cost and true or false) then
  check_index('unknown_cost', KEY.unknown_costs, job and job.unknown_cost and (job.ended_at or now))
end
local parked = redis.call('HKEYS', KEY.parked .. id)
if not job then
  check_index('alarm', KEY.alarms, nil)
  if #parked > 0 and note_problem('parked') then
    for _, field in ipairs(parked) do
      local task = task_of(field)
      if redis.call('GET', KEY.celery .. task) == id then redis.call('DEL', KEY.celery .. task) end
    end
    redis.call('DEL', KEY.parked .. id)
  end
  return problems
end

-- Admitted, or with money reserved, although no attempt is under way. The counters have a recount of their own.
if job.admitted_by and job.state ~= 'queued' and note_problem('window') then save(job, RECORD{admitted_by = false}) end
if job.reserved and not job.admitted_by and not HOLDS[phase_of(job)] and note_problem('reserved') then
  save(job, RECORD{reserved = false})
end
if #parked > 0 and not FINAL[job.state] and not string.find(job.owed_at_end or '', 'c', 1, true)
  and note_problem('parked') then
  save(job, RECORD{owed_at_end = (job.owed_at_end or '') .. 'c'})
end
local labels = redis.call('GET', KEY.labels .. id)
for name, value in pairs(labels and cjson.decode(labels) or {}) do
  check_index('label', KEY.labelled .. name .. '=' .. value, job.created_at)
end
if redis.call('EXISTS', KEY.text .. id) == 0 then note_problem('request') end
local queue = save_queue_of(job)
if job.save_since and not redis.call('ZSCORE', KEY.save_queue .. queue, id) and note_problem('save') then
  redis.call('ZADD', KEY.save_queue .. queue, whole(now), id)
  save(job, RECORD{save_at = now})
end
if job.save_since and not redis.call('ZSCORE', KEY.save_turns, queue) and note_problem('save') then
  redis.call('ZADD', KEY.save_turns, 0, queue)
end
if lacks_saving(job) and note_problem('results') then
  expect_save(job, now)
  owe_save(job, now, '')
end
local needed = phase_of(job) or job.owed
if not needed then
  check_index('alarm', KEY.alarms, nil)
elseif not redis.call('ZSCORE', KEY.alarms, id) and note_problem('alarm') then
  -- The look-up or the delivery is due now; a worker that is submitting it just now has the time of a lease.
  local at = phase_of(job) == 'submitting' and now + tonumber(ARGV[2]) or now
  if FINAL[job.state] and job.phase and job.owed then
    save(job, RECORD{lookup_at = job.lookup_at or at, delivery_at = job.delivery_at or now})
  end
  alarm(job, FINAL[job.state] and job.owed and now or at)
end
return problems
