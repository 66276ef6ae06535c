-- Decide that all staged jobs are accepted. From this step on they are not lost; sweep.lua turns them into records.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 token of the upload
--       2 batch id
--       3 options of the batch as JSON (jobs.new_job)
--       4 how many jobs were staged
--       5 limits of unfinished jobs as JSON (jobs.room); '' for none
-- Returns: begun | empty (nothing new was staged) | busy (with another change of the batch) | gone (they, or images
--   that they name, have expired) | full (above a limit of unfinished jobs) | taken (the batch is another producer's)
-- A repeat with the same token is `begun` again.
arity(5)
expect_installation()
local token, batch, now = ARGV[1], ARGV[2], clock()
local key = KEY.batch .. batch
if redis.call('HEXISTS', key, 'do') == 1 then
  -- The same call again, after a lost answer.
  return redis.call('HGET', key, 'only') == token and 'begun' or 'busy'
end
local images = pinned_images(token)
if redis.call('LLEN', KEY.staged .. token) ~= tonumber(ARGV[4]) or not all_stored(images) then return 'gone' end
if tonumber(ARGV[4]) > (free_places(ARGV[5]) or math.huge) then return 'full' end
if redis.call('EXISTS', key) == 1 and batch_of(batch).owner ~= (cjson.decode(ARGV[3]).key or '') then return 'taken' end
open_batch(batch, now, ARGV[3])
if ARGV[4] == '0' then return 'empty' end
redis.call('PERSIST', KEY.staged .. token)
redis.call('PERSIST', KEY.lines .. token)
redis.call('PERSIST', KEY.pinned .. token)
count_uses(images, 1, now)
count_accepted(tonumber(ARGV[4]))
redis.call('HSET', key, 'do', 'commit', 'only', token, 'hits', 0, 'clash', 0)
redis.call('ZADD', KEY.sweeps, whole(now), batch)
return 'begun'
