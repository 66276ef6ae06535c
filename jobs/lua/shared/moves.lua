-- Changes of the state of a job, which only `move` makes, and who may make them.

-- Return whether the caller still holds the job: another token means that another claim was made. '' needs no claim.
local function holds_fence(job, fence) return fence == '' or (job.fence or '0') == fence end

-- Add a change of state to the stream of changes. The fields are always the same, so Redis stores their names once.
-- They are enough to follow the jobs without reading the records. `due`: when a new job may begin, where that is later;
-- `began`: the last start, before an end removes it.
local function publish_change(job, from, now, due, began)
  local starts, attempt = tonumber(job.starts or 1), attempt_of(job)
  -- The next start of a job that was started `starts` times is its `starts`-th repeat.
  local retries = math.max(starts, attempt) - 1
  if job.state == 'queued' and from ~= '' then retries = math.max(began and starts or 0, attempt - 1) end
  guarded(job.id, now, function()
    redis.call('XADD', KEY.changes, 'MAXLEN', '~', CHANGES_KEPT, '*', 'id', job.id, 'state', job.state, 'from', from,
      'model', job.model, 'created', job.created_at, 'batch', job.batch or '', 'reason', job.reason or '',
      'due', due or '', 'began', began or '', 'retries', retries)
  end)
end

-- Keep the ends of a span that leaves the ring, in columns that grow with the life of the batch (jobs.batch_ends).
local function keep_ends(batch, span, count)
  local width, first, counts = nil, nil, {}
  local kept = redis.call('HGET', KEY.batch .. batch, BATCH.ends) or ''
  for number in string.gmatch(string.match(kept, '^[%d ]+$') or '', '%d+') do
    number = tonumber(number)
    if not width then width = number elseif not first then first = number else counts[#counts + 1] = number end
  end
  -- What is damaged begins anew.
  if not first or width < 1 or #counts > ENDS_COLUMNS or width * first > span + ENDS_COLUMNS then width, first, counts = 1, span, {} end
  while math.floor(span / width) - first >= ENDS_COLUMNS do
    local start, wider = math.floor(first / 2), {}
    for i, each in ipairs(counts) do
      local at = math.floor((first + i - 1) / 2) - start + 1
      wider[at] = (wider[at] or 0) + each
    end
    width, first, counts = width * 2, start, wider
  end
  local at = math.max(math.floor(span / width) - first, 0) + 1
  for i = #counts + 1, at do counts[i] = 0 end
  counts[at] = counts[at] + count
  redis.call('HSET', KEY.batch .. batch, BATCH.ends, width .. ' ' .. first .. ' ' .. table.concat(counts, ' '))
end

-- Count an end for the rate of the batch (jobs.eta).
local function count_end(batch, now)
  local span = math.floor(now / 1000000 / RATE_SPAN)
  local field = BATCH.ended .. span % RATE_RING
  -- Most ends follow another one in the same span.
  local count = redis.call('HINCRBY', KEY.batch .. batch, field, 1)
  local counted = math.floor(count / RATE_SHIFT)
  if counted ~= span then
    redis.call('HSET', KEY.batch .. batch, field, whole(span * RATE_SHIFT + 1))
    if counted > 0 then keep_ends(batch, counted, count % RATE_SHIFT - 1) end
  end
end

-- Change the state of a job. No other function does: record, index, counters of the batch, slots, uses of images, alarm
-- and stream of changes move together. `event`: of its timeline, where that is not the new state.
local function move(job, to, change, now, at, event)
  local from, was, held_by = job.state, phase_of(job), lane_of(job)
  local held = HOLDS[was]
  local stands = to
  if FINAL[to] then stands = change.phase end
  if stands == nil then stands = job.phase end
  local holds = HOLDS[stands]
  if from ~= to or not FINAL[from] then
    if not string.find(ALLOWED[from], ' ' .. to .. ' ', 1, true) then
      error('no transition from ' .. from .. ' to ' .. to .. ' for ' .. job.id)
    end
  end
  if stands == 'in_doubt' then
    -- Only a refusal says that this submission created nothing.
    if was ~= 'in_doubt' and not change.refusal then change.maybe_sent = '1' end
  else
    if job.forgotten then change.forgotten = false end
    if job.refusal then change.refusal = false end
    if stands ~= 'queued' and not holds then change.maybe_sent = false end
  end
  if from == 'queued' then
    if to ~= 'submitting' then release_reservation(job, change) end
    leave_dispatched(job, change)
    leave_queue(job)
    if to ~= 'queued' then change.paused = false end
  end
  if not holds then
    if job.unreadable_since then change.unreadable_since = false end
    if job.unanswered_since then change.unanswered_since = false end
    if job.no_result_since then change.no_result_since = false end
  end
  if held and not holds then
    redis.call('HINCRBY', held_by, 'slots', -image_count(job))
    release_reservation(job, change)
  end
  change.state, change.updated_at = to, now
  local began, since = job.started_at, tonumber(job.updated_at)
  local is_first = not job.starts and attempt_of(job) == 1
  if FINAL[to] and not stands and not string.find(job.owed_at_end or '', 'c', 1, true) then
    change.started_at, change.starts = false, false
  end
  if event or from ~= to or (stands or nil) ~= was then
    local entered = from ~= to and to or stands
    note_event(job, change, event or entered and string.match(EVENTS_OF_STATES, entered .. '=(%u)') or EVENT.over, now)
  end
  save(job, change)
  if holds and not held then
    local priced = {}
    redis.call('HINCRBY', lane_of(job), 'slots', image_count(job))
    reserve(job, job.lane or DEFAULT_LANE, priced)
    save(job, priced)
  end
  alarm(job, at)
  if from == to then return end
  if job.names_images and FINAL[from] ~= FINAL[to] then count_uses(images_of(job), FINAL[to] and -1 or 1, now) end
  if job.size and FINAL[from] ~= FINAL[to] then count_held(KEY.unfinished, owner_of_job(job), FINAL[to] and -1 or 1) end
  redis.call('ZREM', KEY.state .. from, job.id)
  redis.call('ZADD', KEY.state .. to, job.created_at, job.id)
  if job.batch then
    redis.call('HINCRBY', KEY.batch .. job.batch, from, -1)
    redis.call('HINCRBY', KEY.batch .. job.batch, to, 1)
    if FINAL[to] ~= FINAL[from] and count_unfinished(job.batch, class_of(job), FINAL[to] and -1 or 1) then
      note_batch_end(job.batch, now)
    end
    if FINAL[to] and not FINAL[from] and to ~= 'cancelled' then
      guarded(job.id, now, function() count_end(job.batch, now) end)
    end
    if job.pilot and FINAL[to] ~= FINAL[from] then count_pilot(job.batch, FINAL[to] and -1 or 1) end
  end
  publish_change(job, from, now, nil, began)
  if FINAL[to] and not FINAL[from] then
    guarded(job.id, now, function()
      count_in_history(job, now, is_first and began and tonumber(began) - tonumber(job.created_at),
        was == 'in_progress' and now - since)
    end)
    redis.call('PUBLISH', KEY.ended .. job.id, to)
  end
end

-- Change where the attempt stands at the provider, whatever the producer has decided about the job meanwhile.
local function move_phase(job, where, change, now, at)
  if FINAL[job.state] then
    change.phase = where
    move(job, job.state, change, now)
    schedule_lookup(job, at)
  else
    move(job, where, change, now, at)
  end
end

-- Keep an attempt at its lane. It may have reached that account, and only the same account would notice a second
-- submission.
local function pin_to_lane(job, change)
  local lanes = redis.call('HGET', KEY.pools, job.pool or '')
  if lanes and string.find(lanes, ' ', 1, true) then
    change.pool = '@' .. (job.lane or DEFAULT_LANE)
    redis.call('HSETNX', KEY.pools, change.pool, job.lane or DEFAULT_LANE)
  end
end
