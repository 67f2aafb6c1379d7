local wasmill = require "wasmill"
local json = wasmill.json

local drawn = math.random(0)
local calls = 0

local function recurse(depth) return 1 + recurse(depth + 1) end

local function written(value)
  local is_written, text = pcall(json.encode, value)
  return is_written and text or "an error"
end

local function facts()
  local numbers = json.decode "[9007199254740993,123456789012345678901234567890]"
  local before = os.clock()
  wasmill.sleep(0.02)
  local slept = os.clock() - before
  return {
    numbers = json.encode(numbers), nan = written(0 / 0), slept = slept > 0.015 and slept < 5, zone = os.date("%z", 0),
    stdin = #io.read "a", file = io.open "/etc/passwd" ~= nil, coroutine = coroutine.wrap(function() return true end)(),
    locale = os.setlocale(), text = json.decode [["\u00e9\ud83d\ude00\ud800"]],
  }
end

local ways = {
  random = function() return drawn .. " " .. math.random(0) .. " " .. wasmill.random(8):gsub(".", function(c) return c:byte() .. "-" end) end,
  print = function()
    calls = calls + 1
    io.write("call ", calls)
  end,
  text = function()
    wasmill.log("info", "\xff in a log", { field = "\xff" })
    wasmill.reject "\xff in a reason"
  end,
  fail = function() error "the reason of a failure" end,
  retry = function() wasmill.retry("later", 1) end,
  emit = function()
    local known = wasmill.execution()
    local event = { type = "probe.emitted", subject = known.name, data = known.attempt, extensions = { probe = "1" } }
    return wasmill.output { data = { known.attempt, known.max_attempts, #known.id }, emit = { event } }
  end,
  check = function() return calls.nothing.at_all end,
  recurse = function() return recurse(0) end,
  facts = facts,
}

return function(event)
  local way = ways[event.data]
  return way and way()
end
