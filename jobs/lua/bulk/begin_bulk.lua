-- Begin a bulk action on the jobs that exist and meet a filter now, or only count them (a dry run). bulk.lua does it step
-- by step.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 its id
--       2 who begins it: a producer, or '*'
--       3 what is asked, as JSON: action, filter (jobs/job_filter.py, as text), and by whom: key, producer; class, for a
--         change of the priority; dry, only to count
--       4 most that one caller may have under way
--       5 most that are kept of one caller
-- Returns: outcome: begun | busy (the caller has too many under way) | conflict (the id stands for something else)
-- A repeat is `begun` again.
arity(5)
local id, owner, key, now = ARGV[1], ARGV[2], KEY.bulk .. ARGV[1], clock()
local asked_before, owner_before = unpack(redis.call('HMGET', key, 'asked', 'owner'))
if asked_before then return asked_before == ARGV[3] and owner_before == owner and 'begun' or 'conflict' end
local asked = cjson.decode(ARGV[3])
if asked.action ~= 'cancel' and asked.action ~= 'pause' then expect_installation() end
local busy = 0
for _, each in ipairs(redis.call('ZRANGE', KEY.bulks, 0, -1)) do
  if redis.call('HGET', KEY.bulk .. each, 'owner') == owner then busy = busy + 1 end
end
if busy >= tonumber(ARGV[4]) then return 'busy' end
local filter = cjson.decode(asked.filter)
-- No two jobs are created at one time: those of later are not meant.
local before = read_number(KEY.totals, 'last') + 1
if not filter.before or filter.before > before then filter.before = before end
local source, size = narrowest(filter)
local of, states = source.batch and 'batch' or source.label and 'label' or 'states', {}
-- Jobs move on to states in which there is none now.
for state in pairs(filter.states or ALLOWED) do states[#states + 1] = state end
redis.call('HSET', key, 'asked', ARGV[3], 'owner', owner, 'state', 'running', 'action', asked.action, 'filter',
  asked.filter, 'began', whole(now), 'before', whole(filter.before), 'of', of, 'index',
  source.batch or source.label or table.concat(states, ' '), 'cursor', '', 'size', size, 'checked', 0)
if asked.dry then redis.call('HSET', key, 'dry', '1') end
if asked.class then redis.call('HSET', key, 'class', asked.class) end
redis.call('ZADD', KEY.bulks, whole(now), id)
redis.call('ZADD', KEY.bulks_of .. owner, whole(now), id)
for _, old in ipairs(redis.call('ZRANGE', KEY.bulks_of .. owner, 0, -1 - tonumber(ARGV[5]))) do
  if not redis.call('ZSCORE', KEY.bulks, old) then
    redis.call('ZREM', KEY.bulks_of .. owner, old)
    redis.call('DEL', KEY.bulk .. old)
  end
end
return 'begun'
