-- Begin to cancel or retry the jobs that are in a batch now. sweep.lua changes them step by step. A cancel takes effect
-- at once, because the batch is halted until its sweep is over. It ends a pause, and a retry that is under way.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id
--       2 'cancel' | 'retry'
--       3 for a retry, which jobs, as JSON: {"states": {"failed": true}, "codes": {"1301": true}}; without `codes`: any
--         code. Else ''
--       4 '1' only to count
--       5 for whom: a producer, or '*'
--       6 who changes them: the id of a key, for their timelines; ''
-- Returns: {outcome, how many jobs there are to change}
--   outcome: begun | counted | under way (the same was begun before) | busy (with another change) | unknown
arity(6)
local batch, action, selection = ARGV[1], ARGV[2], ARGV[3]
if action == 'retry' then expect_installation() end
local key = KEY.batch .. batch
if redis.call('EXISTS', key) == 0 or not is_of(batch_of(batch).owner, ARGV[5]) then return {answer_unknown(), 0} end
local function count(field) return tonumber(redis.call('HGET', key, field) or 0) end

local matching = 0
if action == 'cancel' then
  for state in pairs(ALLOWED) do
    if not FINAL[state] then matching = matching + count(state) end
  end
else
  local chosen = cjson.decode(selection)
  for state in pairs(chosen.states) do
    if state ~= 'failed' then matching = matching + count(state) end
  end
  if chosen.states.failed and chosen.codes then
    for code in pairs(chosen.codes) do matching = matching + count(BATCH.failed .. code) end
  elseif chosen.states.failed then
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
      if string.sub(fields[i], 1, #BATCH.failed) == BATCH.failed then matching = matching + tonumber(fields[i + 1]) end
    end
  end
end
if ARGV[4] == '1' then return {'counted', matching} end

local doing = redis.call('HGET', key, 'do')
if doing == 'cancel' then return {action == 'cancel' and 'under way' or 'busy', matching} end
if doing == 'commit' or (doing and action == 'retry') then return {'busy', matching} end
local was = halts_of(batch)
if action == 'cancel' then redis.call('HDEL', key, 'paused') end
redis.call('HSET', key, 'do', action, 'only', selection, 'pos', 0, 'upto', redis.call('LLEN', KEY.members .. batch),
  'hits', 0, 'many', matching, 'by', ARGV[6])
if action == 'retry' then redis.call('HSET', key, 'resumed', whole(clock())) end
apply_halt(batch, was)
redis.call('ZADD', KEY.sweeps, whole(clock()), batch)
return {'begun', matching}
