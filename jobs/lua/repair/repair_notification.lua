-- Check that a job or an event of a batch stands in an index of notifications (shared/delivery_log.lua) exactly where that
-- is the index of the state of its notification. Correct it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 state and owner of the index, as '<state>|<owner>'
--       3 id
-- Returns: {'notification'} where it is wrong, else {}
-- The index of accepted notifications forgets its oldest, so one may be missing there.
arity(3)
local repairs, id, now = ARGV[1] == '1', ARGV[3], clock()
local letter, owner = string.match(ARGV[2], '^([^|]*)|(.*)$')
if not letter then error('expected <state>|<owner>, not ' .. ARGV[2]) end
local state, of
if string.sub(id, 1, 1) == '!' then
  local event = read_event(id)
  if event then state, of = event.state, event.owner end
else
  local job, problem = read(id)
  if problem then return {} end
  if job then state, of = job.notification, owner_of_job(job) end
end
local index = notifications_in(letter, owner)
local belongs = state == letter and of == owner
local is_there = redis.call('ZSCORE', index, id) and true or false
if is_there == belongs or belongs and letter == 'd' then return {} end
if repairs and belongs then redis.call('ZADD', index, whole(now), id) end
if repairs and not belongs then redis.call('ZREM', index, id) end
return {'notification'}
