-- Do one step of a bulk action (begin_bulk.lua). The step records its progress, so any process may do the next step at
-- any time, also after the death of the one before. The jobs are visited in the order of their creation,
-- each once.
--
-- The jobs are those that met the filter when it began. Where a filter names what changes in the life of a job (its state,
-- for example), a job that has changed since is left as it is, and counted (`changed`): it may have begun to meet the
-- filter only since then.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 its id; '' for the one whose last step was the longest ago
--       2 most jobs to check
--       3 most jobs to change
--       4 µs until a waiting job is checked again
-- Returns: {1 where there is more to do (for that one; where none was named, for any), 1 to send an admission hint}
arity(4)
local id, now, recheck = ARGV[1], clock(), tonumber(ARGV[4])
if id == '' then id = redis.call('ZRANGE', KEY.bulks, 0, 0)[1] end
if not id then return {0, 0} end
local function has_more() return ARGV[1] == '' and redis.call('EXISTS', KEY.bulks) or 0 end
local key = KEY.bulk .. id
local state, action, text, began, before, of, index, cursor, dry, class = unpack(redis.call('HMGET', key, 'state', 'action',
  'filter', 'began', 'before', 'of', 'index', 'cursor', 'dry', 'class'))
if state ~= 'running' then
  redis.call('ZREM', KEY.bulks, id)
  return {has_more(), 0}
end
redis.call('ZADD', KEY.bulks, whole(now), id) -- the others go first
local readable, filter = pcall(cjson.decode, text or '')
began, before = tonumber(began or nil), tonumber(before or nil)
if not (readable and type(filter) == 'table' and began and before and of and index and cursor) then
  if ARGV[1] ~= '' then damaged('bulk action ' .. id, 'its description cannot be read') end
  return {0, 0} -- the audit reports it
end
local known, asked = pcall(cjson.decode, redis.call('HGET', key, 'asked') or '')
act_for(known and type(asked) == 'table' and type(asked.key) == 'string' and asked.key or '')
if not filter.before or filter.before > before then filter.before = before end
local source = {[of] = index}
if of == 'states' then
  source.states = {}
  for each in string.gmatch(index, '%S+') do source.states[#source.states + 1] = each end
end

-- Return why an action leaves a job as it is; nil: it does not.
local function refusal(job)
  if action == 'retry' then return retry_refusal(job) end
  if action == 'pause' and job.paused or action == 'resume' and not job.paused then return 'already' end
  if action == 'priority' and (job.priority or '1') == class then return 'already' end
end
local counts, batches_changed, changes, stopped = {}, {}, 0, false
local function count(name) counts[name] = (counts[name] or 0) + 1 end
local function act(job)
  if action == 'cancel' then cancel_job(job, now) end
  if action == 'pause' then pause_job(job) end
  if action == 'resume' then resume_job(job) end
  if action == 'priority' then change_priority(job, class) end
  if action ~= 'retry' then return end
  requeue_job(job, now, recheck)
  if job.batch then batches_changed[job.batch] = true end
end
local function handle(job)
  if filter.may_change or filter.models and job.revision then
    -- A new job's time of change is its creation, which may be ahead of the clock.
    if tonumber(job.updated_at) > began and job.updated_at ~= job.created_at then return count('changed') end
  end
  local why = refusal(job)
  if why then return count('w:' .. why) end
  if HOLDS[job.state] then count('at_provider') else count('c:' .. class_of(job) .. '|' .. owner_of_job(job)) end
  if not dry then act(job) end
  count('affected')
end
local function visit(each)
  if changes >= tonumber(ARGV[3]) then return false end
  local scout = read_for_filter(each)
  if scout and meets(filter, scout) then
    local job, problem = read(each)
    if problem == 'newer' then -- it waits for a process that can read the record
      stopped = true
      return false
    end
    -- A damaged job is left as it is, and does not keep the others from being changed.
    if job and not guarded(each, now, function() handle(job) end) or problem then count('w:damaged') end
    if not dry then changes = changes + 1 end
  end
end
local behind, ended, passed = walk(source, filter, cursor, true, tonumber(ARGV[2]), 500, visit)
counts.checked = passed
for name, by in pairs(counts) do redis.call('HINCRBY', key, name, by) end
for batch in pairs(batches_changed) do pause_until_approved(batch) end
redis.call('HSET', key, 'cursor', behind)
if ended then
  redis.call('HSET', key, 'state', 'done', 'ended', whole(now))
  redis.call('ZREM', KEY.bulks, id)
end
local hint = dry and 0 or admit_hint(now)
if ended then return {has_more(), hint} end
return {stopped and 0 or 1, hint}
