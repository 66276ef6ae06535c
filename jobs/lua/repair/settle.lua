-- Settle an attempt by an operator's word, where neither a look-up nor a callback tells its outcome: it is in doubt, or
-- in progress without a readable answer. The fencing token rises, so a worker that is looking it up can no longer
-- record anything.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 since when it is in doubt, or without a readable answer, in µs: the verdict is about that and nothing later
--       3 'sent' | 'not-sent' (only in doubt) | 'failed'
--       4 the provider's task id, where it was sent
--       5 result as JSON, where it failed
--       6 reason
--       7 look-ups after which a task is asked for by that id
--       8 µs until the deadline
--       9 µs until a waiting job is checked again
--       10 who settles it, for the timeline; ''
-- Returns: {outcome, state, 1 to send an admission hint, 1 where deliveries are owed}; outcome:
--   settled | over (the producer had cancelled it: its slots are free) | other (that is over) | unknown
arity(10)
local job, verdict, reason = load(ARGV[1]), ARGV[3], ARGV[6]
if not job then return {'unknown', '', 0, 0} end
local since = job.doubt_since
if phase_of(job) == 'in_progress' and verdict ~= 'not-sent' then since = job.unreadable_since end
if not since or since ~= ARGV[2] then return {'other', job.state, 0, 0} end
local now = clock()
act_for(ARGV[10])
local change = RECORD{fence = next_fence(job), lookups = false, doubt_since = false, exists = false,
  submit_tries = false, unreadable_since = false, unanswered_since = false, no_result_since = false, reason = reason}
if verdict == 'sent' then
  change.task_id, change.deadline, change.lookups = ARGV[4], now + tonumber(ARGV[8]), ARGV[7]
  guarded(job.id, now, function() forget_task(job); index_task(job, ARGV[4]) end)
  if job.state == 'in_progress' then
    change.updated_at = now
    note_event(job, change, EVENT.settled, now)
    save(job, change)
    alarm(job, now)
  else
    move_phase(job, 'in_progress', change, now, now)
  end
  return {'settled', job.state, 0, 0}
end
if FINAL[job.state] then
  release_provider(job, now)
  return {'over', job.state, admit_hint(now), 0}
end
if verdict == 'not-sent' then
  change.epoch = epoch().number -- an operator knows that it was not sent: no look-up
  pin_to_lane(job, change)
  move(job, 'queued', change, now, recheck_at(job, now, tonumber(ARGV[9])))
  join_queue(job)
elseif verdict == 'failed' then
  redis.call('SET', KEY.result .. job.id, ARGV[5])
  change.settled_by, change.deadline, change.ended_at = 'hand', false, now
  owe_deliveries(job, change, now)
  outdate_deliveries(job, change)
  move(job, 'failed', change, now, change.owed and now or false)
  if job.batch then count_failure(job.batch, ARGV[5], 1) end
else
  error('expected sent, not-sent or failed, not ' .. verdict)
end
return {'settled', job.state, admit_hint(now), job.owed and 1 or 0}
