-- Read what does not go on by itself, at one moment: jobs that are in doubt for long, deliveries given up, batches
-- paused at their max_cost, queues that a budget keeps waiting, jobs found damaged, jobs of unknown cost, jobs about
-- which the provider gives no readable answer, jobs whose results could not be saved. Each kind has an index of its own, so the cost is in proportion to what
-- is returned.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 µs for which a job must have been in doubt
--       2 most of each kind to return, the oldest first
--       3 how many of each kind to leave out before them
-- Returns: {now, then for each of the eight {how many there are, name, since when in µs (of a queue: until when), ...}}
arity(3)
local now, most, skip = clock(), tonumber(ARGV[2]), tonumber(ARGV[3])
local function named(key, last)
  local count = redis.pcall('ZCOUNT', key, '-inf', last)
  if type(count) == 'table' then return {0} end -- no sorted set: the audit reports it
  local answer = {count}
  if most > 0 then
    local rows = redis.call('ZRANGEBYSCORE', key, '-inf', last, 'WITHSCORES', 'LIMIT', skip, most)
    for i = 1, #rows do answer[i + 1] = rows[i] end
  end
  return answer
end
return {whole(now), named(KEY.doubts, whole(now - tonumber(ARGV[1]))), named(KEY.undelivered, '+inf'),
  named(KEY.at_cap, '+inf'), named(KEY.capped, '+inf'), named(KEY.damaged, '+inf'),
  named(KEY.unknown_costs, '+inf'), named(KEY.unreadable, '+inf'), named(KEY.unsaved, '+inf')}
