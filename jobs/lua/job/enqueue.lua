-- Accept jobs in one step, in their order, up to the limits of unfinished jobs: record, index, alarm, place in the queue,
-- membership of the batch.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id or ''
--       2 options of the batch as JSON (jobs.new_job)
--       3 µs until a waiting job is checked again
--       4 limits of unfinished jobs as JSON (jobs.room); '' for none
--       5 '*': jobs of other producers are known, too; else ''
--       6... id, request, facts as JSON (jobs.new_job), for each job
-- Returns: {1 to send an admission hint, then an outcome for each job}
--   outcome: created | known | conflict (the id has another request or owner) | imageless (an image is missing) | full
-- Repeat it with the same arguments: every job is `known`, and nothing changes.
if #ARGV < 5 or (#ARGV - 5) % 3 ~= 0 then error('expected 5 + 3 per job arguments, got ' .. #ARGV) end
expect_installation()
local batch, now = ARGV[1], clock()
if batch ~= '' then open_batch(batch, now, ARGV[2]) end
local specs = {}
for i = 6, #ARGV, 3 do specs[#specs + 1] = {ARGV[i], ARGV[i + 1], ARGV[i + 2]} end
local outcomes, created = accept(batch, specs, now, tonumber(ARGV[3]), free_places(ARGV[4]), ARGV[5])
count_accepted(created)
return {created > 0 and admit_hint(now) or 0, unpack(outcomes)}
