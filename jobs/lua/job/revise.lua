-- Correct the request of a job that ended without output, and queue it again: the next revision of the request. What was
-- sent before keeps its external id, so no id is ever used for two requests.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 µs until a waiting job is checked again
--       3 for whom: a producer, or '*'
--       4 request
--       5 facts as JSON (jobs.new_job)
--       6 limits of unfinished jobs as JSON (jobs.room); '' for none
--       7 mark of the call's Idempotency-Key; '' for none
--       8 most revisions of a request
--       9 who corrects it: the id of a key, for the timeline; ''
-- Returns: {outcome, state, 1 to send an admission hint}; outcome:
--   queued      the corrected request waits
--   same        the present revision has this request already, or the call with this mark made a revision of it before
--   other key   the call with this mark made a revision with another request
--   unfinished  the job has not ended, and has another request
--   working     the provider may still work on it
--   forgotten   it is not known what was sent, because Redis lost data: its next external id may belong to another request
--   has output  it was cancelled, but has paid output
--   imageless   an image is not stored
--   full        the limit of unfinished jobs is reached
--   too many    it has the most revisions that a request may have
--   refused     it is completed
--   unknown     there is no such job, or it is another producer's
arity(9)
expect_installation()
local job, caller, text, facts, mark = load(ARGV[1]), ARGV[3], ARGV[4], facts_of(ARGV[5]), ARGV[7]
if not job or not is_of(owner_of_job(job), caller) then return {'unknown', '', 0} end
local before, earlier = redis.call('GET', KEY.text .. job.id) or '', earlier_revisions(job.id)
for place, each in ipairs(earlier) do
  if mark ~= '' and each.mark == mark then
    local made = earlier[place + 1] and earlier[place + 1].text or before
    return {made == text and 'same' or 'other key', job.state, 0}
  end
end
if before == text then return {'same', job.state, 0} end
if job.state == 'completed' then return {'refused', job.state, 0} end
if not FINAL[job.state] then return {'unfinished', job.state, 0} end
if job.phase then return {'working', job.state, 0} end
if has_output(job) then return {'has output', job.state, 0} end
if needs_lookup(job) then return {'forgotten', job.state, 0} end
if #earlier + 1 >= tonumber(ARGV[8]) then return {'too many', job.state, 0} end
local named = images_in(text)
if not all_stored(named, caller) then return {'imageless', job.state, 0} end
local free = free_places(ARGV[6])
if free and free < 1 then return {'full', job.state, 0} end

local now, result = clock(), redis.call('GET', KEY.result .. job.id)
local cost = tonumber(job.earlier_cost or 0) + cost_of(result)
local entry = cjson.encode({text = before, result = result or nil, state = job.state, reason = job.reason,
  first = job.first_attempt or '1', last = whole(attempt_of(job)), cost = whole(cost), ended = job.ended_at,
  corrected = whole(now), mark = mark ~= '' and mark or nil})
keep_revision(job.id, entry, before)
redis.call('SET', KEY.text .. job.id, text)
local labels, pool = redis.call('GET', KEY.labels .. job.id), facts.pool or ''
if labels then index_labels(KEY.labelled, labels, job.id) end
if facts.labels then
  redis.call('SET', KEY.labels .. job.id, facts.labels)
  index_labels(KEY.labelled, facts.labels, job.id, job.created_at)
else
  redis.call('DEL', KEY.labels .. job.id)
end
local priority = facts.priority or job.batch and redis.call('HGET', KEY.batch .. job.batch, 'class') or '1'
local celery = string.find(job.owed_at_end or '', 'c', 1, true) and 'c' or ''
local owed = celery .. (string.gsub(facts.owed_at_end or '', 'c', ''))
local change = RECORD{model = facts.model, images = facts.images or false, resolution = facts.resolution or false,
  pool = facts.pool or false, priority = priority ~= '1' and priority, owed_at_end = owed ~= '' and owed,
  only_begun = facts.only_begun or false, names_images = next(named) and '1' or false, revision = #earlier + 2}
if job.size then
  local more = #text - #before + #(facts.labels or '') - #(labels or '') + #entry
  change.size = math.max(0, tonumber(job.size) + more)
  count_held(KEY.stored, owner_of_job(job), whole(change.size - tonumber(job.size)))
end
redis.call('HSETNX', KEY.pools, pool, '')
change.first_attempt = attempt_of(job) + (job.sent and 1 or 0)
change.version = VERSION -- a process of the version before knows no revisions
act_for(ARGV[9])
requeue_job(job, now, tonumber(ARGV[2]), change)
if facts.expires_in then
  save(job, RECORD{expires_at = now + facts.expires_in})
  alarm(job, recheck_at(job, now, tonumber(ARGV[2])))
end
if job.batch then pause_until_approved(job.batch) end
return {'queued', job.state, admit_hint(now)}
