-- One step of changing all jobs of a batch (begin_sweep.lua), or of accepting staged ones (commit.lua). Where it stands is written in the same step, so that it may be
-- made by anyone, at any time: whoever dies in the middle of a sweep leaves the rest to the others.
-- ARGV: batch, or '' for the one that began first; most jobs to look at; µs until a waiting job is re-checked
-- Returns: {whether there is more to do, for it or (where none was named) for any (0|1), jobs changed so far, how many
--   are left at most, a hint to admit (0|1)}
arity(3)
local batch, limit, recheck = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if batch == '' then batch = redis.call('ZRANGE', KEY.sweeps, 0, 0)[1] end
if not batch then return {0, 0, 0, 0} end
local now = clock()
local function others() return ARGV[1] == '' and redis.call('EXISTS', KEY.sweeps) or 0 end
local key = KEY.batch .. batch
local action, only, pos, upto, hits, many
local function read_sweep()
  action, only, pos, upto, hits, many = unpack(redis.call('HMGET', key, 'do', 'only', 'pos', 'upto', 'hits', 'many'))
  local counts = action == 'commit' and {hits} or action and {pos, upto, hits, many} or {}
  for _, count in ipairs(counts) do
    if not string.find(count or '', '^%d+$') then damaged('batch ' .. batch, 'what is being done to it cannot be read') end
  end
  if action and not only then damaged('batch ' .. batch, 'it is not written what is being done to it') end
end
local fine, said = pcall(read_sweep)
if not fine then
  if ARGV[1] ~= '' then error(said, 0) end
  redis.call('ZADD', KEY.sweeps, whole(now), batch) -- the others first; the audit tells of it
  return {0, 0, 0, 0}
end
if not action then
  redis.call('ZREM', KEY.sweeps, batch)
  return {others(), tonumber(hits or 0), 0, 0}
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
  local words, created = accept(batch, specs, now, recheck)
  for _, word in ipairs(words) do
    -- Another producer was faster with this id, after it was staged; or the image store has lost an image.
    if word == 'conflict' or word == 'imageless' then redis.call('HINCRBY', key, 'clash', 1) end
  end
  hits = redis.call('HINCRBY', key, 'hits', created)
  local left = redis.call('LLEN', KEY.staged .. only)
  if left > 0 then return {1, hits, left, admit_hint(now)} end
  redis.call('HDEL', key, 'do', 'only')
  redis.call('ZREM', KEY.sweeps, batch)
  count_uses(pinned_images(only), -1, now)
  redis.call('UNLINK', KEY.pinned .. only)
  return {others(), hits, 0, admit_hint(now)}
end
local which = action == 'retry' and cjson.decode(only)
local function wanted(job)
  if action == 'cancel' then return not FINAL[job.state] end
  if not which.states[job.state] or job.phase or has_output(job) or not has_images(job) then return false end
  return job.state ~= 'failed' or not which.codes or which.codes[code_of(redis.call('GET', KEY.result .. job.id))]
end

local last = math.min(tonumber(upto), tonumber(pos) + limit)
local changed_now = 0
local members, jobs = redis.call('LRANGE', KEY.members .. batch, pos, last - 1), {}
for _, id in ipairs(members) do
  local job, odd = read(id)
  if odd == 'newer' then return {0, tonumber(hits), math.max(0, math.min(many - hits, upto - pos)), 0} end
  jobs[id] = job
end
for _, id in ipairs(members) do
  local job = jobs[id]
  -- Damaged ones are left as they are: what is done to all of a batch is not held up by one of it.
  guarded(id, now, function()
    if not job or not wanted(job) then return end
    if action == 'cancel' then cancel_job(job, now) else requeue_job(job, now, recheck) end
    changed_now = changed_now + 1
  end)
end
hits = redis.call('HINCRBY', key, 'hits', changed_now)
if last < tonumber(upto) then
  redis.call('HSET', key, 'pos', last)
  return {1, hits, math.max(0, math.min(many - hits, upto - last)), admit_hint(now)}
end
local was = is_halted(batch)
redis.call('HDEL', key, 'do', 'only', 'pos', 'upto', 'many')
redis.call('ZREM', KEY.sweeps, batch)
apply_halt(batch, was)
return {others(), hits, 0, admit_hint(now)}
