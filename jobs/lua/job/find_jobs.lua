-- Find jobs by a filter, from a cursor on: the jobs of a batch in input order, others newest first. A job keeps its place
-- (its creation) while its state changes, so that a cursor stays valid.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 the filter as JSON (jobs/job_filter.py)
--       2 a cursor; '' to begin
--       3 most jobs to return; 0 only to count
--       4 how many records may be read
-- Returns: {cursor; '' at the end, jobs found, how many records the narrowest index has, id, cursor behind it, ...}
arity(4)
local filter, cursor, most = cjson.decode(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local source, size = narrowest(filter)
-- A list of a batch goes on in the order in which it began. `c` marks the time of creation, which is in input order, too.
local by_time = filter.batch and (cursor == '' and not source.batch or string.sub(cursor, 1, 1) == 'c')
if filter.batch and not by_time then source = {batch = filter.batch} end
if by_time and source.batch then
  source = {states = {}}
  for state in pairs(filter.states or ALLOWED) do source.states[#source.states + 1] = state end
end
local mark = by_time and 'c' or ''
if by_time then cursor = string.match(cursor, '%d*$') end
local count, answer = 0, {}
-- A count by owner, state and time follows from the index and the producer's name in the ids.
local BY_ID = {owner = true, states = true, since = true, before = true, may_change = true}
local by_id = most == 0 and filter.owner and source.states
for name in pairs(filter) do by_id = by_id and BY_ID[name] end
local function visit(id, at)
  if most > 0 and count == most then return false end
  if by_id and string.find(id, OWNER_MARK, 1, true) then
    count = count + 1
    return
  end
  local job = read_for_filter(id)
  if not job or not meets(filter, job) then return end
  count = count + 1
  if most > 0 then
    answer[#answer + 1] = id
    answer[#answer + 1] = mark .. at
  end
end
local at_once = most > 0 and math.max(100, most + 1) or 500
local behind, ended = walk(source, filter, cursor, filter.batch and true, tonumber(ARGV[4]), at_once, visit)
return {ended and '' or mark .. behind, count, size, unpack(answer)}
