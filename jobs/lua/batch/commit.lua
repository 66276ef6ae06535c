-- Decide that all staged jobs are accepted: from this step on they are there to stay, and sweep.lua takes them in.
-- ARGV: token of the upload, batch, its options as JSON, how many were staged, most unfinished jobs there may be ('':
--       any)
-- Returns: begun | empty (nothing new was staged) | busy (something is being done to the batch) | gone (they, or
--   images that they name, expired) | full (there is no room for all) | taken (the batch is another producer's)
arity(5)
expect_installation()
local token, batch, now = ARGV[1], ARGV[2], clock()
local key = KEY.batch .. batch
if redis.call('HEXISTS', key, 'do') == 1 then
  -- The same again, after a lost answer.
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
