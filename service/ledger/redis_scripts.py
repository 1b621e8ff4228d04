"""Lua scripts of the ledger, each atomic: count a batch or observations, move counts for feedback, sum, release.

All keys of a model share the hash tag {model}, so each script stays in one cluster slot; KEYS[1] is their prefix.

    :m:<minute>  :h:<hour>  :d:<day>    hash  version|label|prediction|bare|group -> n
    :a:<minute of arrival>   hash  minute|version|label|prediction|bare|group -> n
    :days        sorted set of the days with counts            :batches     hash  run -> last batch number
    :observed:<day>  hash  key of an observation counted on that day -> its receipt
    :known:<day> hash  nonce -> label|group                    :told:<size>:<day>  hash  minute -> revision|text
    :released:<size>  the same as :told:, of all days in one hash, as earlier versions wrote it
"""

from __future__ import annotations

from service.ledger.time_buckets import LABEL_DAYS, OBSERVED_DAYS, RELEASE_DAYS, SLACK_DAYS, Level

_DAY = 86400


def _seconds(days: int) -> int:
    return (days + SLACK_DAYS) * _DAY


_KEPT = {level: level.kept_days or 0 for level in Level}
_ADD = f"""
local prefix = KEYS[1]
local function raise(key, field, n, seconds)
  local after = redis.call('HINCRBY', key, field, n)
  if after == tonumber(n) and redis.call('HLEN', key) == 1 then redis.call('EXPIRE', key, seconds) end
  return after
end
local function add(minute, now, field, n)
  local change, age = n, now - minute
  if age <= {_KEPT[Level.MINUTE] * 1440} then
    local after = raise(prefix .. ':m:' .. minute, field, n, {_seconds(_KEPT[Level.MINUTE])})
    change = math.max(after, 0) - math.max(after - n, 0)
  end
  if change == 0 then return end
  if age <= {_KEPT[Level.HOUR] * 1440} then
    raise(prefix .. ':h:' .. math.floor(minute / 60), field, change, {_seconds(_KEPT[Level.HOUR])})
  end
  local day = math.floor(minute / 1440)
  redis.call('HINCRBY', prefix .. ':d:' .. day, field, change)
  redis.call('ZADD', prefix .. ':days', day, day)
end
"""

APPLY = f"""{_ADD}
-- ARGV: run, number of the batch, minute now, then (minute, field, n) for each cell
local last = tonumber(redis.call('HGET', prefix .. ':batches', ARGV[1]) or '0')
if tonumber(ARGV[2]) <= last then return 0 end
redis.call('HSET', prefix .. ':batches', ARGV[1], ARGV[2])
for i = 4, #ARGV, 3 do
  add(tonumber(ARGV[i]), tonumber(ARGV[3]), ARGV[i + 1], tonumber(ARGV[i + 2]))
end
return 1
"""
"""Count one model's part of a batch. Returns 1, or 0 if it was counted before."""

FEEDBACK = f"""{_ADD}
-- ARGV: minute now, then (minute, version, prediction, bare, group, nonce, label or '', new group or '') for each item
local now, found = tonumber(ARGV[1]), {{}}
for i = 2, #ARGV, 8 do
  local minute, version, prediction, bare = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = prefix .. ':known:' .. math.floor(minute / 1440)
  local label, group = '-1', ARGV[i + 4]
  local known = redis.call('HGET', key, ARGV[i + 5])
  if known then
    local bar = string.find(known, '|', 1, true)
    label, group = string.sub(known, 1, bar - 1), string.sub(known, bar + 1)
  end
  local new_label = ARGV[i + 6] == '' and label or ARGV[i + 6]
  local new_group = ARGV[i + 7] == '' and group or ARGV[i + 7]
  local outcome = 0
  if new_label ~= label or new_group ~= group then
    local there = table.concat({{version, label, prediction, bare, group}}, '|')
    local here = table.concat({{version, new_label, prediction, bare, new_group}}, '|')
    add(minute, now, there, -1)
    add(minute, now, here, 1)
    if redis.call('HSET', key, ARGV[i + 5], new_label .. '|' .. new_group) == 1 and redis.call('HLEN', key) == 1 then
      redis.call('EXPIRE', key, {_seconds(LABEL_DAYS)})
    end
    if label == '-1' and new_label ~= '-1' then
      raise(prefix .. ':a:' .. now, ARGV[i] .. '|' .. here, 1, {_seconds(_KEPT[Level.ARRIVAL])})
      redis.call('ZADD', prefix .. ':days', math.floor(now / 1440), math.floor(now / 1440))
    end
    local replaced = (label ~= '-1' and label ~= new_label) or (group ~= 'unknown' and group ~= new_group)
    outcome = replaced and 2 or 1
  end
  found[#found + 1] = outcome
end
return found
"""
"""Move counts to the cells of late labels and groups. Returns per item 0 unchanged, 1 counted, 2 corrected."""

OBSERVE = f"""{_ADD}
-- ARGV: minute now, most keys, then (key, receipt, minute, field, nonce, label|group or '') for each item
-- the days of keys are those of the server: the clocks of replicas may differ
local now, most, wanted, known, held, added = tonumber(ARGV[1]), tonumber(ARGV[2]), {{}}, {{}}, 0, false
local today = math.floor(tonumber(redis.call('TIME')[1]) / 86400)
local function observed(day) return prefix .. ':observed:' .. day end
for i = 3, #ARGV, 6 do wanted[#wanted + 1] = ARGV[i] end
for day = today - {OBSERVED_DAYS + SLACK_DAYS}, today + 1 do
  local size = redis.call('HLEN', observed(day))
  held = held + size
  if size > 0 then
    for i, receipt in ipairs(redis.call('HMGET', observed(day), unpack(wanted))) do
      if receipt then known[wanted[i]] = receipt end
    end
  end
end
local out = {{}}
for i = 3, #ARGV, 6 do
  local key, minute, field = ARGV[i], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local receipt, state = known[key], 0
  if not receipt and held < most then
    receipt, state, added, held = ARGV[i + 1], 1, true, held + 1
    known[key] = receipt
    redis.call('HSET', observed(today), key, receipt)
    add(minute, now, field, 1)
    if ARGV[i + 5] ~= '' then
      local labelled = prefix .. ':known:' .. math.floor(minute / 1440)
      redis.call('HSET', labelled, ARGV[i + 4], ARGV[i + 5])
      redis.call('EXPIRE', labelled, {_seconds(LABEL_DAYS)})
      raise(prefix .. ':a:' .. now, minute .. '|' .. field, 1, {_seconds(_KEPT[Level.ARRIVAL])})
      redis.call('ZADD', prefix .. ':days', math.floor(now / 1440), math.floor(now / 1440))
    end
  end
  out[#out + 1] = receipt or ''
  out[#out + 1] = receipt and state or -1
end
if added then redis.call('EXPIRE', observed(today), {_seconds(OBSERVED_DAYS)}) end
return out
"""
"""Count observations whose keys are not known. Returns per item its receipt, and 1 fresh, 0 known, -1 no room."""

TOTAL = """
-- ARGV: (letter of the level, first period, end) for each span
local prefix, total, out = KEYS[1], {}, {}
local function take(key)
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local n = tonumber(all[i + 1])
    if n > 0 then total[all[i]] = (total[all[i]] or 0) + n end
  end
end
for i = 1, #ARGV, 3 do
  local first, last = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]) - 1
  if ARGV[i] == 'd' then
    local days = redis.call('ZRANGEBYSCORE', prefix .. ':days', first, last)
    for _, day in ipairs(days) do take(prefix .. ':d:' .. day) end
  else
    for period = first, last do take(prefix .. ':' .. ARGV[i] .. ':' .. string.format('%d', period)) end
  end
end
for field, n in pairs(total) do out[#out + 1] = field; out[#out + 1] = n end
return out
"""
"""Sum the positive counts of each cell over some period ranges. Returns field, n, field, n, ..."""

NOW = """
local at = redis.call('TIME')
return string.format('%d.%06d', at[1], at[2])
"""
"""KEYS: any. The server's clock in seconds since 1970."""

_TOLD = f"""
local prefix, size = KEYS[1], ARGV[1]
local function told(minute) return prefix .. ':told:' .. size .. ':' .. math.floor(tonumber(minute) / 1440) end
local function keep(minute)
  local day = math.floor(tonumber(minute) / 1440)
  redis.call('ZADD', prefix .. ':days', day, day)
  redis.call('EXPIRE', told(minute), {_seconds(RELEASE_DAYS)})
end
"""

RELEASE = f"""{_TOLD}
-- ARGV: size, minute, revision, text
local old = redis.call('HGET', told(ARGV[2]), ARGV[2])
if old and tonumber(string.match(old, '^%d+')) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', told(ARGV[2]), ARGV[2], ARGV[3] .. '|' .. ARGV[4])
keep(ARGV[2])
return 1
"""
"""Store a period's release. Returns 0 if its revision was taken meanwhile."""

TAKE_OVER = f"""{_TOLD}
-- ARGV: size
local key = prefix .. ':released:' .. size
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  redis.call('HSETNX', told(all[i]), all[i], all[i + 1])
  keep(all[i])
end
redis.call('DEL', key)
"""
"""Move releases that earlier versions wrote under :released: to :told:."""
