-- Begin to cancel or retry the jobs of a batch. They are changed step by step (sweep.lua), those that are in it now.
-- A cancel takes effect at once: the batch is halted until its sweep is over. It ends a pause, and a retry under way.
-- ARGV: batch, 'cancel' | 'retry', for a retry: which ({"states": {"failed": true}, "codes": {"1301": true}}, without
--       `codes`: any) as JSON, else ''; '1' only to count
-- Returns: {word, how many there are to change}, word being
--   begun    counted    under way (the same is being done already)    busy (another is)    unknown (no such batch)
arity(4)
local batch, action, only = ARGV[1], ARGV[2], ARGV[3]
if action == 'retry' then expect_installation() end
local key = KEY.batch .. batch
if redis.call('EXISTS', key) == 0 then return {answer_unknown(), 0} end
local function count(field) return tonumber(redis.call('HGET', key, field) or 0) end

local many = 0
if action == 'cancel' then
  for state in pairs(ALLOWED) do
    if not FINAL[state] then many = many + count(state) end
  end
else
  local which = cjson.decode(only)
  for state in pairs(which.states) do
    if state ~= 'failed' then many = many + count(state) end
  end
  if which.states.failed and which.codes then
    for code in pairs(which.codes) do many = many + count('x:' .. code) end
  elseif which.states.failed then
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
      if string.sub(fields[i], 1, 2) == 'x:' then many = many + tonumber(fields[i + 1]) end
    end
  end
end
if ARGV[4] == '1' then return {'counted', many} end

local doing = redis.call('HGET', key, 'do')
if doing == 'cancel' then return {action == 'cancel' and 'under way' or 'busy', many} end
if doing == 'commit' or (doing and action == 'retry') then return {'busy', many} end
local was = is_halted(batch)
if action == 'cancel' then redis.call('HDEL', key, 'paused') end
redis.call('HSET', key, 'do', action, 'only', only, 'pos', 0, 'upto', redis.call('LLEN', KEY.members .. batch),
  'hits', 0, 'many', many)
apply_halt(batch, was)
redis.call('ZADD', KEY.sweeps, whole(clock()), batch)
return {'begun', many}
