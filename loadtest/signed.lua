-- The same message with its X-Hub-Signature-256. LuaJIT has no HMAC, so SIGNATURE brings the header's value:
--   SIGNATURE="sha256=$(openssl dgst -sha256 -hmac SECRET -r src/rig/samples/text.json | cut -d' ' -f1)"
local report = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local one
function init()
  local signature = assert(os.getenv("SIGNATURE"), "set SIGNATURE; the head of signed.lua says how")
  one = report.post(report.sample("text"), { ["X-Hub-Signature-256"] = signature })
end

function request()
  return one
end
