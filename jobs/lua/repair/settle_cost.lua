-- Settle the unknown cost of a job by an operator's word: count it on the day of the result, and let the batch go on
-- that waits for it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 cost in nano-dollars
--       3 result as JSON, as it was read; '' where there is none
--       4 the same with the cost; '' where it is not to change
--       5 who settles it, for the timeline; ''
-- Returns: {outcome, 1 to send an admission hint}; outcome:
--   settled | other (its cost is not unknown, or its result has changed) | unknown
arity(5)
local job, cost = load(ARGV[1]), ARGV[2]
if not job then return {'unknown', 0} end
if not job.unknown_cost or (redis.call('GET', KEY.result .. job.id) or '') ~= ARGV[3] then return {'other', 0} end
local now = clock()
local lane, at = forget_unknown_cost(job, now)
local change = {}
if ARGV[4] ~= '' then
  redis.call('SET', KEY.result .. job.id, ARGV[4])
else
  count_earlier_cost(job, tonumber(cost), change)
end
act_for(ARGV[5])
note_event(job, change, EVENT.cost_settled, now)
save(job, change)
-- A day that is forgotten is not begun anew.
local day = redis.call('EXISTS', KEY.spent .. day_of(at)) == 1 and day_of(at) or day_of(now)
if cost ~= '0' then
  count_cost(job, lane, cost, day)
  count_by_label(job, 0, cost, day)
  redis.call('ZADD', KEY.days, day, day)
end
learn_price(job, cost, job.state == 'completed')
if job.batch then resume_at_known_cost(job.batch) end
return {'settled', admit_hint(now)}
