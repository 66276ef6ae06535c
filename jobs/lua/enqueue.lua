-- Accept jobs: record, index, alarm, place in the queue, membership of a batch. All or none of a call.
-- ARGV: batch id or '', µs until a waiting job is re-checked, then id, text, model, n, owed, labels (JSON) for each job
-- Returns: {hint to send (0|1), then a word for each job: created | known | conflict}
-- Again with the same arguments: every job is known, nothing changes.
if #ARGV < 2 or (#ARGV - 2) % 6 ~= 0 then error('expected 2 + 6 per job arguments, got ' .. #ARGV) end
local batch, now = ARGV[1], clock()
if batch ~= '' then open_batch(batch, now) end
local specs = {}
for i = 3, #ARGV, 6 do specs[#specs + 1] = {unpack(ARGV, i, i + 5)} end
local words, created = accept(batch, specs, now, tonumber(ARGV[2]))
return {created > 0 and wake(now) or 0, unpack(words)}
