-- Stage jobs that are to be accepted all together or not at all (commit.lua). They expire unless more follow.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 token of the upload
--       2 seconds until they expire
--       3 limits of unfinished jobs as JSON (jobs.room), these included; '' for none
--       4 the owner of the batch; '*': jobs of other producers are known, too
--       5... id, request, facts as JSON (jobs.new_job), for each job
-- Returns: an outcome for each job: created (it would be) | known | conflict | imageless | full
if #ARGV < 4 or (#ARGV - 4) % 3 ~= 0 then error('expected 4 + 3 per job arguments, got ' .. #ARGV) end
expect_installation()
local ids, lines, pinned = KEY.staged .. ARGV[1], KEY.lines .. ARGV[1], KEY.pinned .. ARGV[1]
local free = free_places(ARGV[3])
if free then free = free - redis.call('LLEN', ids) end
local outcomes = {}
for i = 5, #ARGV, 3 do
  local id, text = ARGV[i], ARGV[i + 1]
  local outcome, earlier = find_recorded(id, text, ARGV[4]), nil
  if not outcome then
    earlier = redis.call('HGET', lines, id)
    if earlier then outcome = cmsgpack.unpack(earlier)[2] == text and 'known' or 'conflict' end
  end
  if outcome then
    outcomes[#outcomes + 1] = outcome
  elseif not all_stored(images_in(text), ARGV[4]) then
    outcomes[#outcomes + 1] = 'imageless'
  elseif free and free <= 0 then
    outcomes[#outcomes + 1] = 'full'
  else
    free = free and free - 1
    for hash in pairs(images_in(text)) do redis.call('SADD', pinned, hash) end
    redis.call('HSET', lines, id, cmsgpack.pack({unpack(ARGV, i, i + 2)}))
    redis.call('RPUSH', ids, id)
    outcomes[#outcomes + 1] = 'created'
  end
end
redis.call('EXPIRE', ids, ARGV[2])
redis.call('EXPIRE', lines, ARGV[2])
redis.call('EXPIRE', pinned, ARGV[2])
return outcomes
