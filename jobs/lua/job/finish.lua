-- Record that an attempt is over. The first result counts; a later one changes nothing, even if it contradicts the
-- first. But a job that failed because its task was completed without a result gets the result that comes later.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 attempt
--       3 fence of the claim; '' for a callback, which has none
--       4 'completed' | 'failed'
--       5 result as JSON
--       6 cost in nano-dollars, or ''
--       7 who settled it
--       8 µs until each further attempt of the present revision, with a space between two; '' for none
--       9 '1' where it fails by a refusal of its submission: only while nothing shows that the attempt exists
--       10 what the provider sent instead of an amount that can be read; '' for nothing
--       11 lanes ('l<lane>') and keys ('k<key>') with a daily budget, as JSON {name: true}
--       12 how many results there are
--       13 what to do about results (shared/saves.lua): '' where the caller has no result store
-- Returns: {outcome, state, 1 to send an admission hint, 1 where deliveries are owed}; outcome:
--   finished      the job has ended now, or its late result was recorded
--   again         the next attempt is queued
--   already       it had ended before, in the same way
--   contradicted  it had ended before, in another way
--   stale         an older attempt or an older fence
--   other count   a callback has more or fewer results than images were asked for: only a poll decides what counts
--   doubt         a callback has proven that the refused attempt exists: it is looked up
--   unknown       there is no such job or attempt
arity(13)
local job = load(ARGV[1])
local status, result, cost, settled_by = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if status ~= 'completed' and status ~= 'failed' then error('expected completed or failed, not ' .. status) end
if not job then return {answer_unknown(), '', 0, 0} end
local given = tonumber(ARGV[2])
if given > attempt_of(job) then return {answer_unknown(), job.state, 0, 0} end
if given < attempt_of(job) or not holds_fence(job, ARGV[3]) then return {'stale', job.state, 0, 0} end
local phase = phase_of(job)
-- The result that says that there is none, of a job that has failed or was cancelled; nil: there is another one.
local replaced = nil
if not phase and status == 'completed' and (job.state == 'failed' or job.state == 'cancelled') then
  replaced = redis.call('GET', KEY.result .. job.id)
  replaced = code_of(replaced) == NO_OUTPUT and replaced or nil
end
if not phase and not replaced then
  if (job.state == 'completed' or job.state == 'failed') and job.state ~= status then
    redis.call('HINCRBY', KEY.totals, 'contradicted', 1)
    return {'contradicted', job.state, 0, 0}
  end
  return {'already', job.state, 0, 0}
end
if phase == 'queued' and not job.sent and not needs_lookup(job) then return {answer_unknown(), job.state, 0, 0} end
if settled_by == 'callback' and status == 'completed' then
  local count, asked = tonumber(ARGV[12]), image_count(job)
  -- A callback without results does not come here. No poll follows the end of a job, so all results count then, also
  -- those with a watermark.
  if (not replaced and count > 0 and count ~= asked) or count > 2 * asked then return {'other count', job.state, 0, 0} end
end

local now = clock()
act_because(settled_by)
if ARGV[9] == '1' and phase == 'submitting' and job.exists then
  move_phase(job, 'in_doubt', RECORD{doubt_since = now, lookups = false, reason = 'a callback came for it'}, now, now)
end
if ARGV[9] == '1' and phase_of(job) == 'in_doubt' and not job.refusal then return {'doubt', job.state, 0, 0} end
-- A task that was completed without a result has failed here, and was probably paid for (jobs.provider_result).
local code = status == 'failed' and code_of(result)
local bought = status == 'completed' or code == NO_OUTPUT
local paid = replaced and cjson.decode(replaced).cost
if paid and cost == '' then result = '{"cost": "' .. paid .. '", ' .. string.sub(result, 2) end
local unknown = not paid and is_unknown_cost(job, cost, ARGV[10], bought, ARGV[11])
local counted = nil
local first_unknown, last_unknown = unknown_attempts(job)
if paid then counted = nano_of(paid) elseif replaced and last_unknown == given then counted = 0 end
-- Before the cost: should one of these fail, the repeat counts no money twice.
guarded(job.id, now, function() record_durations(job, now) end)
if phase == 'submitting' then record_acceptance(job, now, status == 'completed') end
if status == 'failed' then cut_limit_by_task(job, code, now) end
if ARGV[3] ~= '' then record_call(job.lane or DEFAULT_LANE, 'answer') end
record_cost(job, cost, status == 'completed', unknown, now, counted)
if unknown then
  record_unknown_cost(job, ARGV[10], now)
elseif replaced and not paid and first_unknown == given then -- else the cost of an earlier attempt is still unknown
  forget_unknown_cost(job, now)
  if job.batch then resume_at_known_cost(job.batch) end
end
local wait = nth_wait(ARGV[8], given - tonumber(job.first_attempt or 1) + 1)
if wait and not FINAL[job.state] then
  guarded(job.id, now, function() forget_task(job) end)
  local change = RECORD{attempt = attempt_of(job) + 1, sent = false, task_id = false, deadline = false, lookups = false,
    doubt_since = false, exists = false, submit_tries = false, maybe_sent = false}
  count_earlier_cost(job, tonumber(cost ~= '' and cost or 0), change)
  change.reason = 'attempt ' .. attempt_of(job) .. ' failed; the next one waits'
  move(job, 'queued', change, now, now + wait, EVENT.next_attempt)
  return {'again', 'queued', admit_hint(now), 0}
end

redis.call('SET', KEY.result .. job.id, result)
local mode = status == 'completed' and tonumber(ARGV[12]) > 0 and saving_mode(ARGV[13]) or ''
if mode ~= '' then expect_save(job, now) end
local before = FINAL[job.state]
local change = RECORD{phase = false, settled_by = settled_by, deadline = false, lookups = false, doubt_since = false,
  exists = false, reason = false, submit_tries = false, lookup_at = false, delivery_at = false}
if job.state == 'cancelled' then
  local at = job.owed and tonumber(job.delivery_at) or false
  if replaced then at = nil end -- the alarm is that of the delivery already
  move(job, 'cancelled', change, now, at, EVENT.late_result)
else
  change.ended_at = now
  owe_deliveries(job, change, now, before)
  outdate_deliveries(job, change)
  move(job, status, change, now, change.owed and now or false)
  if status == 'failed' and job.batch then count_failure(job.batch, result, 1) end
  if replaced and job.batch then count_failure(job.batch, replaced, -1) end
end
if mode ~= '' then owe_save(job, now, mode) end
return {'finished', job.state, admit_hint(now), job.owed and not is_held(job) and 1 or 0}
