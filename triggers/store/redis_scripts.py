"""Lua scripts of the store, each atomic: commit a change with its history entry, read a model, replica heartbeats."""

from __future__ import annotations

COMMIT = """
-- KEYS: history, versions, digests, and the rollout only if it changes
-- ARGV: last entry as it was read or '', new entry, rollout or '', version or '', channel, model, the version's digest
if (redis.call('LINDEX', KEYS[1], -1) or '') ~= ARGV[1] then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('SET', KEYS[4], ARGV[3]) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], ARGV[7], redis.call('RPUSH', KEYS[2], ARGV[4])) end
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
return 1
"""
"""Append an entry with its rollout or version; returns 0 if the history has grown since. Entries are all different.

A trainer that only publishes needs no right to the rollout's key."""

KNOWN_DIGEST = """
return {redis.call('HGET', KEYS[1], ARGV[1]), redis.call('HLEN', KEYS[1]), redis.call('LLEN', KEYS[2])}
"""
"""KEYS: digests, versions; ARGV: a digest. Its version or nil, how many digests and how many versions there are."""

INDEX_DIGESTS = """
-- KEYS: digests, versions; ARGV: how many versions were read, then (digest, version) for each of them
if redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""
"""Write the digests anew, unless versions were added since: one that is missing for a moment may be published twice."""

LOOK = """
return {redis.call('LRANGE', KEYS[1], 0, -1), redis.call('GET', KEYS[2]) or '', redis.call('LRANGE', KEYS[3], 0, -1)}
"""
"""KEYS: history, rollout, versions. A consistent snapshot of a model."""

REPORT = """
-- KEYS: replicas; ARGV: name, seconds to live, JSON
local at = redis.call('TIME')
local now = at[1] + at[2] / 1000000
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if tonumber(string.match(all[i + 1], '^[^|]+')) <= now then redis.call('HDEL', KEYS[1], all[i]) end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.6f', now + ARGV[2]) .. '|' .. ARGV[3])
"""
"""Store a heartbeat by the server's clock, and delete expired replicas."""

LIVING = """
local at = redis.call('TIME')
local now, found = at[1] + at[2] / 1000000, {}
local all = redis.call('HVALS', KEYS[1])
for i = 1, #all do
  local bar = string.find(all[i], '|', 1, true)
  if tonumber(string.sub(all[i], 1, bar - 1)) > now then found[#found + 1] = string.sub(all[i], bar + 1) end
end
return found
"""
"""KEYS: replicas. Those that have not expired, as JSON."""
