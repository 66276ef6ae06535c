-- Check that the indexes of a batch's reviews have exactly the marks of the reviews of a job; correct them.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 job id
--       3 batch in whose index an output of it stands; '' for the batch of the job
--       4 number of that output; ''
-- Returns: {'review'} where something is wrong, also where there are reviews without a job, else {}
arity(4)
local id, wrong = ARGV[2], false
local created, of = unpack(redis.call('HMGET', KEY.job .. id, FIELD.created_at, FIELD.batch))
local reviews = redis.call('HGETALL', KEY.reviews .. id)
local function check(batch, number, marks)
  for mark in string.gmatch(MARKS, '.') do
    local score = redis.call('ZSCORE', KEY.marked .. mark .. '|' .. batch, number .. ':' .. id)
    local should = string.find(marks, mark, 1, true) and tonumber(created) or nil
    if tonumber(score or nil) ~= should then wrong = true end
  end
  if wrong and ARGV[1] == '1' then index_review(batch, id, number, marks, created) end
end
local indexed = {}
for i = 1, #reviews, 2 do
  local readable, review = pcall(cjson.decode, reviews[i + 1])
  readable = readable and type(review) == 'table' and type(review[1]) == 'string'
  if not created or not readable then
    wrong = true
    if ARGV[1] == '1' then redis.call('HDEL', KEY.reviews .. id, reviews[i]) end
  end
  local marks = created and readable and review[1] or ''
  if created and of then
    check(of, reviews[i], marks)
    indexed[of .. '|' .. reviews[i]] = true
  end
end
if ARGV[3] ~= '' and not indexed[ARGV[3] .. '|' .. ARGV[4]] then check(ARGV[3], ARGV[4], '') end
return wrong and {'review'} or {}
