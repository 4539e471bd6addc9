-- The generic cell rate algorithm of gcra.rs, by the clock of Redis, in one step for all nodes.
-- KEYS[1]: the key. ARGV: cost (negative: given back), limit, period in microseconds, burst, 1 to decide or 0 to only count.
-- Returns: allowed, remaining, microseconds until all is back, microseconds until the cost may be tried again (-1: never).
local time = redis.call('TIME')
-- Microseconds since 2025: a smaller number leaves a double more digits behind the point.
local now = (tonumber(time[1]) - 1735689600) * 1000000 + tonumber(time[2])
local cost, limit, period, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local interval = period / limit
local tolerance = interval * burst
-- Half a microsecond for what rounding lost.
local slack = 0.5

local spent = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local next = math.max(spent + cost * interval, now)
local allowed = ARGV[5] == '0' or cost == 0 or next - now <= tolerance + slack
local arrival = allowed and next or spent
if arrival > now then
  redis.call('SET', KEYS[1], string.format('%.3f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
else
  redis.call('DEL', KEYS[1])
end

local remaining = math.max(math.floor((tolerance + slack - (arrival - now)) / interval), 0)
local retry = -1
if not allowed and cost <= burst then
  retry = math.ceil(next - now - tolerance)
end
return { allowed and 1 or 0, math.min(remaining, burst), math.ceil(arrival - now), retry }
