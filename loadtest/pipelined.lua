-- Sixteen messages in each write: what is left when the system calls are shared. Latency is that of all sixteen.
-- FIRST makes them different messages.
local report = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local depth = 16
function init()
  local text = report.texts()
  request = function()
    local all = {}
    for index = 1, depth do
      all[index] = text()
    end
    return table.concat(all)
  end
  if not os.getenv("FIRST") then
    local same = request()
    request = function() return same end
  end
end
