-- wrk's script: replays a file of signed callbacks, each line "target<TAB>signature<TAB>body", from START on, round and round.
local lines, n = {}, tonumber(os.getenv("START") or "0")
for line in io.lines(os.getenv("CALLBACKS")) do lines[#lines + 1] = line end
request = function()
  n = n + 1
  local target, signature, body = string.match(lines[(n - 1) % #lines + 1], "^(.-)\t(.-)\t(.*)$")
  return wrk.format("POST", target, {["Content-Type"] = "application/x-www-form-urlencoded", ["X-Twilio-Signature"] = signature,
    ["User-Agent"] = "TwilioProxy/1.1", ["I-Twilio-Idempotency-Token"] = "5f8e6a0c-1111-4222-8333-0123456789ab",
    ["X-Home-Region"] = "us1", ["Accept"] = "*/*", ["Cache-Control"] = "max-age=259200"}, body)
end
done = function(summary, latency)
  io.write(string.format('{"requests": %d, "seconds": %.3f, "errors": %d, "p50_ms": %.2f, "p99_ms": %.2f, "max_ms": %.2f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout + summary.errors.connect,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
