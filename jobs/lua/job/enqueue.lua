-- Accept jobs: record, index, alarm, place in the queue, membership of a batch. In one step, in their order, as far as
-- there is room.
-- ARGV: batch id or '', its options as JSON, µs until a waiting job is re-checked, most unfinished jobs there may be ('':
--       any), then id, text, facts (JSON) for each job (jobs.new_job)
-- Returns: {hint to send (0|1), then a word for each job: created | known | conflict | imageless | full}
-- Again with the same arguments: every job is known, nothing changes.
if #ARGV < 4 or (#ARGV - 4) % 3 ~= 0 then error('expected 4 + 3 per job arguments, got ' .. #ARGV) end
expect_installation()
local batch, now = ARGV[1], clock()
if batch ~= '' then open_batch(batch, now, ARGV[2]) end
local specs = {}
for i = 5, #ARGV, 3 do specs[#specs + 1] = {ARGV[i], ARGV[i + 1], ARGV[i + 2]} end
local words, created = accept(batch, specs, now, tonumber(ARGV[3]), free_places(ARGV[4]))
count_accepted(created)
return {created > 0 and admit_hint(now) or 0, unpack(words)}
