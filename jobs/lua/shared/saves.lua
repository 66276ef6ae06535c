-- Saving results (jobs/store/saves.py). Each job whose results are to be saved stands in one queue, of its owner and its
-- lane, by the time of the next try. A worker that saves them holds a place (receivers.lua) until its lease ends.

local function save_queue_of(job) return owner_of_job(job) .. '|' .. (job.lane or DEFAULT_LANE) end

-- Enter a job into its batch's results to save. Call it before the change of the job's state, so that the end of the
-- batch knows of it (note_batch_end), and `owe_save` after that.
local function expect_save(job, now)
  if not job.batch then return end
  guarded(job.id, now, function() redis.call('SADD', KEY.batch_saves .. job.batch, job.id) end)
end

-- Owe the saving of a job's results, from now on. Records of the version before are raised: a process of that version
-- would forget such a job.
local function owe_save(job, now, mode)
  local change = RECORD{save_since = now, save_at = now, save_tries = false, save_error = false,
    save_repeats = false, unsaved = false}
  if job.unsaved then
    redis.call('ZREM', KEY.unsaved, job.id)
    if job.batch then
      guarded(job.id, now, function() redis.call('ZREM', KEY.batch_unsaved .. job.batch, job.id) end)
    end
  end
  if tonumber(job.version or 1) < VERSION then change.version = VERSION end
  if mode == '2' and job.owed and job.state == 'completed' then
    change.saves_first = '1'
    alarm(job, now + HELD_RECHECK)
  end
  save(job, change)
  local queue = save_queue_of(job)
  redis.call('ZADD', KEY.saves, whole(now), job.id)
  redis.call('ZADD', KEY.save_queue .. queue, whole(now), job.id)
  redis.call('ZADD', KEY.save_turns, 'NX', 0, queue)
end

-- Forget that a job's results are to be saved, or were given up.
local function forget_save(job, now)
  if not (job.save_since or job.unsaved) then return end
  local queue, batch = save_queue_of(job), job.batch
  redis.call('ZREM', KEY.saves, job.id)
  redis.call('ZREM', KEY.save_queue .. queue, job.id)
  redis.call('ZREM', KEY.saving, queue .. '|' .. job.id)
  redis.call('ZREM', KEY.unsaved, job.id)
  save(job, RECORD{save_since = false, save_at = false, save_tries = false, save_error = false,
    save_repeats = false, saves_first = false, unsaved = false})
  if not batch then return end
  guarded(job.id, now, function()
    redis.call('ZREM', KEY.batch_unsaved .. batch, job.id)
    if redis.call('SREM', KEY.batch_saves .. batch, job.id) == 1 then note_batch_saved(batch, now) end
  end)
end

-- Return whether a Celery message that comes after the end of its job waits until the results are saved, as earlier ones
-- do. It does not wait where deliveries are under way.
local function waits_for_save(job)
  if is_held(job) then return true end
  return job.state == 'completed' and job.save_since and not job.owed and saving_mode('') == '2'
end

-- Owe a Celery message that came after the end of its job, once its results are saved.
local function hold_message(job, now)
  save(job, RECORD{owed = (job.owed or '') .. 'c', saves_first = '1'})
  alarm(job, now + HELD_RECHECK)
end

-- Let the deliveries begin that waited for the results. Returns 1 where some are due now.
local function release_deliveries(job, now)
  if not job.saves_first then return 0 end
  save(job, RECORD{saves_first = false})
  if not job.owed then return 0 end
  schedule_delivery(job, now)
  return 1
end

-- Give the results of a job up: it is on the list of unsaved results until an operator has them saved.
local function give_up_save(job, now, why)
  local tries = job.save_tries
  forget_save(job, now)
  local change = RECORD{unsaved = now, save_tries = tries, save_error = why}
  note_event(job, change, EVENT.save_given_up, now)
  save(job, change)
  redis.call('ZADD', KEY.unsaved, whole(now), job.id)
  if not job.batch then return end
  guarded(job.id, now, function() redis.call('ZADD', KEY.batch_unsaved .. job.batch, whole(now), job.id) end)
end

-- Return whether a job has results that are neither saved, nor to be saved, nor given up, although they came while the
-- service saved results (announce_saves.lua).
local function lacks_saving(job)
  if not FINAL[job.state] or job.save_since or job.unsaved then return false end
  local from = redis.call('HGET', KEY.totals, 'saves_from')
  if not from or tonumber(job.ended_at) < tonumber(from) or saving_mode('') == '' then return false end
  local readable, result = pcall(cjson.decode, redis.call('GET', KEY.result .. job.id) or '{}')
  return readable and type(result.output) == 'table' and #result.output > 0 and not result.saved
end
