-- wrk's script: every request another recipient, and no Idempotency-Key (a service's plain alert).
local key, first = os.getenv("BROADCASTER_API_KEY"), tonumber(os.getenv("FIRST") or "2000000")
local n = first
request = function()
  n = n + 1
  local body = string.format('{"to":"+1415%07d","body":"The river rises: leave the valley now."}', n % 10000000)
  return wrk.format("POST", wrk.path, {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. key}, body)
end
done = function(summary, latency)
  io.write(string.format('{"requests": %d, "seconds": %.3f, "errors": %d, "p50_ms": %.2f, "p90_ms": %.2f, "p99_ms": %.2f, "max_ms": %.2f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout + summary.errors.connect,
    latency:percentile(50) / 1000, latency:percentile(90) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
