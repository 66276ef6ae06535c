-- Find out whether to ask a worker to save results: some are due, and no such message is under way. Where no process has had a result store for long, give those up that
-- the provider has deleted by now: no worker would.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' where the caller has a result store
--       2 µs for which results are kept at the provider
--       3 most jobs to give up
-- Returns: {1 to send the message, the ids of jobs whose deliveries are due because their results were given up}
-- A repeat finds what is left.
arity(3)
local now, due, released = clock(), 0, {}
if redis.call('EXISTS', KEY.saves) == 0 then return {0, released} end
for _, queue in ipairs(redis.call('ZRANGE', KEY.save_turns, 0, MOST_TURNS - 1)) do
  local first = redis.call('ZRANGE', KEY.save_queue .. queue, 0, 0, 'WITHSCORES')
  if first[2] and tonumber(first[2]) <= now then
    due = redis.call('SET', KEY.save_hint, '1', 'NX', 'PX', SAVE_HINT) and 1 or 0
    break
  end
end
if saving_mode(ARGV[1] == '1' and '1' or '', now) ~= '' then return {due, released} end
local old = redis.call('ZRANGEBYSCORE', KEY.saves, '-inf', whole(now - tonumber(ARGV[2])), 'LIMIT', 0, ARGV[3])
for _, id in ipairs(old) do
  local job, problem = read(id)
  if not problem then
    guarded(id, now, function()
      if job and job.save_since then
        if release_deliveries(job, now) == 1 then released[#released + 1] = id end
        give_up_save(job, now, 'no result store is set (BOOMERANG_RESULT_STORE)')
      else
        redis.call('ZREM', KEY.saves, id)
      end
    end)
  end
end
return {due, released}
