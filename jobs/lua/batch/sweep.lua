-- Do one step of a sweep: change jobs of a batch (begin_sweep.lua), or accept staged jobs (commit.lua). The same step
-- records how far it got. So any process may do the next step at any time, and one that dies leaves the rest to others.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id; '' for the batch whose sweep began first
--       2 most jobs to check
--       3 µs until a waiting job is checked again
-- Returns: {1 where there is more to do (for that batch; where none was named, for any), jobs changed so far, how many
--   are left at most, 1 to send an admission hint}
arity(3)
local batch, limit, recheck = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if batch == '' then batch = redis.call('ZRANGE', KEY.sweeps, 0, 0)[1] end
if not batch then return {0, 0, 0, 0} end
local now = clock()
local function has_more() return ARGV[1] == '' and redis.call('EXISTS', KEY.sweeps) or 0 end
local key = KEY.batch .. batch
local action, only, pos, upto, changed, expected
local function read_sweep()
  action, only, pos, upto, changed, expected =
    unpack(redis.call('HMGET', key, 'do', 'only', 'pos', 'upto', 'hits', 'many'))
  local counts = action == 'commit' and {changed} or action and {pos, upto, changed, expected} or {}
  for _, count in ipairs(counts) do
    if not string.find(count or '', '^%d+$') then
      damaged('batch ' .. batch, 'the description of its sweep cannot be read')
    end
  end
  if action and not only then damaged('batch ' .. batch, 'the description of its sweep is incomplete') end
end
local ok, failure = pcall(read_sweep)
if not ok then
  if ARGV[1] ~= '' then error(failure, 0) end
  redis.call('ZADD', KEY.sweeps, whole(now), batch) -- the other sweeps go first; the audit reports this one
  return {0, 0, 0, 0}
end
if not action then
  redis.call('ZREM', KEY.sweeps, batch)
  return {has_more(), tonumber(changed or 0), 0, 0}
end

if action == 'commit' then
  local specs = {}
  local ids = redis.call('LRANGE', KEY.staged .. only, 0, limit - 1)
  for _, id in ipairs(ids) do
    local readable, spec = pcall(cmsgpack.unpack, redis.call('HGET', KEY.lines .. only, id))
    if readable and type(spec) == 'table' then specs[#specs + 1] = spec else redis.call('HINCRBY', key, 'clash', 1) end
    redis.call('HDEL', KEY.lines .. only, id)
  end
  redis.call('LTRIM', KEY.staged .. only, #ids, -1)
  local outcomes, created = accept(batch, specs, now, recheck, nil, '')
  for _, outcome in ipairs(outcomes) do
    -- Another producer's job got this id after it was staged, or the image store has lost an image.
    if outcome == 'conflict' or outcome == 'imageless' then redis.call('HINCRBY', key, 'clash', 1) end
  end
  changed = redis.call('HINCRBY', key, 'hits', created)
  local left = redis.call('LLEN', KEY.staged .. only)
  if left > 0 then return {1, changed, left, admit_hint(now)} end
  redis.call('HDEL', key, 'do', 'only')
  redis.call('ZREM', KEY.sweeps, batch)
  count_uses(pinned_images(only), -1, now)
  redis.call('UNLINK', KEY.pinned .. only)
  -- An upload of which all jobs are known already repeats no event.
  local saves_missed = redis.call('HDEL', key, 'saves_missed') == 1
  if redis.call('HDEL', key, 'end_missed') == 1 or tonumber(changed) > 0 then
    note_batch_end(batch, now)
  elseif saves_missed then
    note_batch_saved(batch, now)
  end
  return {has_more(), changed, 0, admit_hint(now)}
end
local selection = action == 'retry' and cjson.decode(only)
local function is_selected(job)
  if action == 'cancel' then return not FINAL[job.state] end
  if not selection.states[job.state] or retry_refusal(job) then return false end
  return job.state ~= 'failed' or not selection.codes
    or selection.codes[code_of(redis.call('GET', KEY.result .. job.id))]
end

act_for(redis.call('HGET', key, 'by') or '')
local last = math.min(tonumber(upto), tonumber(pos) + limit)
local changed_now = 0
local members, jobs = redis.call('LRANGE', KEY.members .. batch, pos, last - 1), {}
for _, id in ipairs(members) do
  local job, problem = read(id)
  if problem == 'newer' then return {0, tonumber(changed), math.max(0, math.min(expected - changed, upto - pos)), 0} end
  jobs[id] = job
end
for _, id in ipairs(members) do
  local job = jobs[id]
  -- A damaged job is left as it is, and does not keep the others from being changed.
  guarded(id, now, function()
    if not job or not is_selected(job) then return end
    if action == 'cancel' then cancel_job(job, now) else requeue_job(job, now, recheck) end
    changed_now = changed_now + 1
  end)
end
changed = redis.call('HINCRBY', key, 'hits', changed_now)
if last < tonumber(upto) then
  redis.call('HSET', key, 'pos', last)
  pause_until_approved(batch)
  return {1, changed, math.max(0, math.min(expected - changed, upto - last)), admit_hint(now)}
end
local was = halts_of(batch)
redis.call('HDEL', key, 'do', 'only', 'pos', 'upto', 'many', 'by')
redis.call('ZREM', KEY.sweeps, batch)
apply_halt(batch, was)
pause_until_approved(batch)
return {has_more(), changed, 0, admit_hint(now)}
