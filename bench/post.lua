-- wrk's script: each connection posts a JSON body of SIZE bytes (about 100) again and again for DURATION seconds, then
-- waits, so that every request has its answer before wrk ends and the 200s can be compared with the topic's end offsets.
-- Prints one line: 200s, other answers, seconds from the first request to the last answer, p50 and p99 in microseconds.

local ffi = require("ffi")
ffi.cdef([[
    typedef struct { long seconds; long nanoseconds; } moment;
    int clock_gettime(int clock, moment *now);
]])

local CLOCK_MONOTONIC = 1
local FOR_EVER = 3600 * 1000
local moment = ffi.new("moment")
local threads = {}

local function now()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, moment)
    return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    duration = tonumber(args[1])
    stored, other, first, last = 0, 0, 0, 0
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = '{"id":1,"contenido":"Hola desde Kafka, este mensaje tiene unos cien bytes, como los de cada dia ...."}'
    wrk.body = wrk.body:sub(1, -3) .. string.rep("x", (tonumber(args[2]) or 0) - #wrk.body) .. '"}'
end

function delay()
    if first == 0 then
        first = now()
    end
    return now() - first < duration and 0 or FOR_EVER
end

function response(status)
    last = now()
    if status == 200 then
        stored = stored + 1
    else
        other = other + 1
    end
end

function done(summary, latency)
    local stored, other, seconds = 0, 0, 0
    for _, thread in ipairs(threads) do
        stored = stored + thread:get("stored")
        other = other + thread:get("other")
        seconds = math.max(seconds, thread:get("last") - thread:get("first"))
    end
    local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
    print(string.format("RESULT %d %d %d %.6f %d %d", stored, other, broken, seconds,
        latency:percentile(50), latency:percentile(99)))
end
