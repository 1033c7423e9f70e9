-- What the scripts of this directory share: the samples of the command line, the fields that Meta's sender sets, and
-- the line of figures that `run` reads. A script finds it beside itself, so each also works alone:
--   wrk -s loadtest/plain.lua http://127.0.0.1:8080/webhook
local directory = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local samples = directory .. "../src/rig/samples/"
local M = {}

-- The body of one sample, octet for octet.
function M.sample(name)
  local file = assert(io.open(samples .. name .. ".json", "rb"))
  local body = file:read("*a")
  file:close()
  return body
end

-- The names of all samples, sorted.
function M.samples()
  local names = {}
  local list = assert(io.popen("ls '" .. samples .. "'"))
  for line in list:lines() do
    names[#names + 1] = line:match("^(.*)%.json$")
  end
  list:close()
  return names
end

-- One whole request; wrk fills in the path of its URL, Host and Content-Length.
function M.post(body, headers)
  local fields = {
    ["User-Agent"] = "facebookexternalua",
    ["Accept"] = "*/*",
    ["Content-Type"] = "application/json",
  }
  for name, value in pairs(headers or {}) do
    fields[name] = value
  end
  return wrk.format("POST", wrk.path, fields, body)
end

-- What gives one request with the text message after another. With FIRST in the environment, ten digits, each has a
-- message id of its own, counted from there, so that no server has seen it before; without it all are the same octets.
-- New ones cost this side a twelfth more, and the server nothing.
function M.texts(headers)
  local one = M.post(M.sample("text"), headers)
  local number = tonumber(os.getenv("FIRST"))
  if not number then
    return function() return one end
  end
  local before, after = one:match("^(.*)0000000001(AA==.*)$")
  return function()
    number = number + 1
    return before .. number .. after
  end
end

-- Times in microseconds. wrk counts as `status` what is neither 2xx nor 3xx.
function done(summary, latency, _)
  local errors = summary.errors
  local socket = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("FIGURES requests=%d duration=%d refused=%d socket=%d p50=%d p99=%d p999=%d\n",
    summary.requests, summary.duration, errors.status, socket,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end

return M
