-- The timeline of a job (jobs/timeline.py describes its text). The HSET of the change that it notes writes it.

-- Who or what causes the events of this call: '', a letter, or a name in brackets.
local caused_by = ''

-- Note a person or key as the one who causes the events of this call; '' for none.
local function act_for(name)
  if name ~= '' then caused_by = '(' .. string.sub(string.gsub(name, '[^%w@._:+-]', '_'), 1, LONGEST_NAME) .. ')' end
end

-- Note what settles an attempt (`settled_by`) as the cause of the events of this call.
local function act_because(cause)
  for each, letter in string.gmatch(CAUSES, '(%l+)=(%l)') do
    if each == cause then caused_by = letter end
  end
end

-- Split a text into its events: {letter, milliseconds, cause, count}.
local function events_of(text)
  local events, at = {}, 1
  while at <= #text do
    local _, last, letter, passed, cause = string.find(text, '^(%u)([%da-f]+)(%l?)', at)
    if not last then return events end
    local _, named = string.find(text, '^%b()', last + 1)
    if named then cause, last = string.sub(text, last + 1, named), named end
    local _, counted, count = string.find(text, '^%*([%da-f]+)', last + 1)
    events[#events + 1] = {letter, tonumber(passed, 16), cause, tonumber(count or '1', 16)}
    at = (counted or last) + 1
  end
  return events
end

-- Return the places of the first event that comes again later, and of that repeat; nil: there is none. `alike`: only
-- of the same cause.
local function first_repeat(events, alike)
  for place, event in ipairs(events) do
    for later = place + 1, #events do
      local other = events[later]
      if other[1] == event[1] and (not alike or other[3] == event[3]) then return place, later end
    end
  end
end

-- Shorten a text to the limit: the oldest repeats of an event are merged into later ones. Where none is left, the oldest
-- events go.
local function shortened(text)
  local events = events_of(text)
  while #text > LONGEST_TIMELINE do
    local gone, into = first_repeat(events, true)
    if not gone then gone, into = first_repeat(events, false) end
    if gone then events[into][4] = events[into][4] + events[gone][4] end
    table.remove(events, gone or 1)
    local parts = {}
    for place, event in ipairs(events) do
      parts[place] = event[1] .. string.format('%x', event[2]) .. event[3]
        .. (event[4] > 1 and '*' .. string.format('%x', event[4]) or '')
    end
    text = table.concat(parts)
  end
  return text
end

-- Add an event to the timeline of a job, with a change that is about to be saved. A repeat of the last event counts
-- there.
local function note_event(job, change, event, now)
  local text = change.timeline or job.timeline or ''
  local passed = string.format('%x', math.max(0, math.floor((now - tonumber(job.created_at)) / 1000)))
  local entry = event .. passed .. caused_by
  if string.find(text, event, 1, true) and string.sub(caused_by, 1, 1) ~= '(' then
    local from, _, count = string.find(text, event .. '[%da-f]+' .. caused_by .. '%*?([%da-f]*)$')
    if from then
      text = string.sub(text, 1, from - 1)
      entry = entry .. '*' .. string.format('%x', tonumber(count ~= '' and count or '1', 16) + 1)
    end
  end
  if #text + #entry > LONGEST_TIMELINE then
    change.timeline_before = shortened((change.timeline_before or job.timeline_before or '') .. text)
    text = ''
  end
  change.timeline = text .. entry
end
