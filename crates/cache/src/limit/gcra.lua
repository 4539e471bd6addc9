-- What `Allowance` of crates/corpus decides, by the clock of Redis, for several keys in one step for all nodes: all or nothing.
-- KEYS: the keys. ARGV: 1 to decide or 0 to only count, then for each key: cost (negative: given back), limit, period in
-- microseconds, burst.
-- Returns for each key: allowed, remaining, microseconds until all is back, microseconds until the cost may be tried again
-- (-1: never, or it was allowed).
local time = redis.call('TIME')
-- Microseconds since 2025: a smaller number leaves a double more digits behind the point.
local now = (tonumber(time[1]) - 1735689600) * 1000000 + tonumber(time[2])
local decides = ARGV[1] == '1'
-- Half a microsecond for what rounding lost.
local slack = 0.5

local rows, all = {}, true
for at, key in ipairs(KEYS) do
  local first = 4 * at - 2
  local cost, limit, period, burst = tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local interval = period / limit
  local row = { key = key, cost = cost, burst = burst, interval = interval, tolerance = interval * burst }
  row.spent = math.max(tonumber(redis.call('GET', key) or now), now)
  row.next = math.max(row.spent + cost * interval, now)
  row.allowed = not decides or cost == 0 or row.next - now <= row.tolerance + slack
  all = all and row.allowed
  rows[at] = row
end

local answer = {}
for at, row in ipairs(rows) do
  local arrival = all and row.next or row.spent
  if arrival > now then
    redis.call('SET', row.key, string.format('%.3f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
  else
    redis.call('DEL', row.key)
  end
  local remaining = math.max(math.floor((row.tolerance + slack - (arrival - now)) / row.interval), 0)
  local retry = -1
  if not row.allowed and row.cost <= row.burst then
    retry = math.ceil(row.next - now - row.tolerance)
  end
  answer[at] = { row.allowed and 1 or 0, math.min(remaining, row.burst), math.ceil(arrival - now), retry }
end
return answer
