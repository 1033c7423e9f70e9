-- Whatever the platform sends: every built-in sample, drawn at random, the one that is not JSON included.
local report = dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local all = {}
function init()
  math.randomseed(1) -- the same mixture in every run
  for index, name in ipairs(report.samples()) do
    all[index] = report.post(report.sample(name))
  end
end

function request()
  return all[math.random(#all)]
end
