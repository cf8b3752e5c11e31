-- What wrk sends, and how it says what it saw. UPLOAD: bytes of a body that each request has.
local upload = tonumber(os.getenv("UPLOAD") or "0")
if upload > 0 then
    wrk.method = "POST"
    wrk.body = string.rep("a", upload)
end

function done(summary, latency, requests)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format(
        'RESULT {"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.4f, "p99_ms": %.4f, "p999_ms": %.4f}\n',
        summary.requests, summary.duration / 1e6, failed,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3
    ))
end
