-- Find out whether to ask a worker to save results or to write manifests: some are due, and no such message is under
-- way. Give up the results that the provider has deleted by now: at once where no process has had a result store for
-- long; else after SAVE_MARGIN, in which workers could try once more, unless a worker renews its lease on them.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' where the caller has a result store
--       2 µs for which results are kept at the provider
--       3 most jobs to give up
-- Returns: {1 to send the message, the ids of jobs whose deliveries are due because their results were given up}
-- A repeat finds what is left.
arity(3)
local now, due, released = clock(), 0, {}
local function is_due()
  if redis.call('ZRANGEBYSCORE', KEY.manifests, '-inf', whole(now), 'LIMIT', 0, 1)[1] then return true end
  for _, queue in ipairs(redis.call('ZRANGE', KEY.save_turns, 0, MOST_TURNS - 1)) do
    local first = redis.call('ZRANGE', KEY.save_queue .. queue, 0, 0, 'WITHSCORES')
    if first[2] and tonumber(first[2]) <= now then return true end
  end
  return false
end
if is_due() then due = redis.call('SET', KEY.save_hint, '1', 'NX', 'PX', SAVE_HINT) and 1 or 0 end
local before, why = now - tonumber(ARGV[2]), 'no result store is set (BOOMERANG_RESULT_STORE)'
local is_saving = saving_mode(ARGV[1] == '1' and '1' or '') ~= ''
if is_saving then
  before, why = before - SAVE_MARGIN, 'it expired before a worker recorded how saving it ended: see the workers\' logs'
  -- After a pause of the whole service workers have the margin, too.
  local from, last = unpack(redis.call('HMGET', KEY.totals, 'saves_back', 'saves_until'))
  if not from or tonumber(last) < now or tonumber(from) > now - SAVE_MARGIN then return {due, released} end
end
local old = redis.call('ZRANGEBYSCORE', KEY.saves, '-inf', whole(before), 'LIMIT', 0, ARGV[3])
for _, id in ipairs(old) do
  local job, problem = read(id)
  if not problem then
    guarded(id, now, function()
      if job and job.save_since then
        -- A worker that lives renews its lease long before this.
        local lease_end = tonumber(redis.call('ZSCORE', KEY.saving, save_queue_of(job) .. '|' .. id) or 0)
        if is_saving and lease_end > now + SAVE_RENEWED then return end
        if release_deliveries(job, now) == 1 then released[#released + 1] = id end
        give_up_save(job, now, is_saving and job.save_error or why)
      else
        redis.call('ZREM', KEY.saves, id)
      end
    end)
  end
end
return {due, released}
