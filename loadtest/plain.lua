-- One text message, again and again: the figure to compare with other servers. FIRST makes them different messages.
local report = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

function init()
  request = report.texts()
end
