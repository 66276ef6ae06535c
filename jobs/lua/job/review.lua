-- Record what a person thinks of an output of a job, or forget it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 who reviews it: a producer, or '*'
--       3 number of the output, from 0
--       4 its marks: letters of MARKS, or ''
--       5 a note, or ''
--       6 the id of the key with which the reviewer came
-- Returns: {outcome}
--   reviewed   recorded; without a mark and a note, an earlier review is forgotten
--   same       the output has these marks and this note already; it keeps who gave them, and when
--   no output  the job has no output of this number
--   unknown    there is no such job, or it is another producer's
arity(6)
local job, number, marks, note = load(ARGV[1]), ARGV[3], ARGV[4], ARGV[5]
if not job or not is_of(owner_of_job(job), ARGV[2]) then return {'unknown'} end
local readable, result = pcall(cjson.decode, redis.call('GET', KEY.result .. job.id) or '{}')
if not readable or type(result.output) ~= 'table' or not result.output[tonumber(number) + 1] then return {'no output'} end
local before = redis.call('HGET', KEY.reviews .. job.id, number)
local earlier = before and cjson.decode(before) or {'', '', '', ''}
if earlier[1] == marks and earlier[4] == note then return {'same'} end
local review = (marks ~= '' or note ~= '') and cjson.encode({marks, whole(clock()), ARGV[6], note})
if review then
  redis.call('HSET', KEY.reviews .. job.id, number, review)
else
  redis.call('HDEL', KEY.reviews .. job.id, number)
end
if job.batch then index_review(job.batch, job.id, number, marks, job.created_at) end
if job.size then
  local function size_of(text) return text and #text + REVIEW_SIZE or 0 end
  local more = size_of(review) - size_of(before)
  save(job, RECORD{size = math.max(0, tonumber(job.size) + more)})
  count_held(KEY.stored, owner_of_job(job), whole(more))
end
return {'reviewed'}
