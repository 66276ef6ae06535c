-- Note jobs that are to be accepted all together or not at all (commit.lua). They expire unless more follow.
-- ARGV: token of the upload, seconds until they expire, then id, text, facts (JSON) for each job
-- Returns: {a word for each job: created (it would be) | known | conflict}
if #ARGV < 2 or (#ARGV - 2) % 3 ~= 0 then error('expected 2 + 3 per job arguments, got ' .. #ARGV) end
local ids, lines = KEY.staged .. ARGV[1], KEY.lines .. ARGV[1]
local words = {}
for i = 3, #ARGV, 3 do
  local id, text = ARGV[i], ARGV[i + 1]
  local there = redis.call('GET', KEY.text .. id)
  if not there then
    local earlier = redis.call('HGET', lines, id)
    there = earlier and cmsgpack.unpack(earlier)[2]
  end
  if there then
    words[#words + 1] = there == text and 'known' or 'conflict'
  else
    redis.call('HSET', lines, id, cmsgpack.pack({unpack(ARGV, i, i + 2)}))
    redis.call('RPUSH', ids, id)
    words[#words + 1] = 'created'
  end
end
redis.call('EXPIRE', ids, ARGV[2])
redis.call('EXPIRE', lines, ARGV[2])
return words
