--- Functions for wasmill: `handler.lua` returns a function from an event to a result.
local json = require "wasmill.json"
-- Natively, where the project's own tests run, there is no host: the log goes nowhere.
local is_hosted, host = pcall(require, "wasmill.host")

local wasmill = { json = json }

local LEVELS = { trace = 0, debug = 1, info = 2, warn = 3, error = 4 }

local Failure = {}
Failure.__index = Failure
Failure.__tostring = function(failure) return failure.reason end

--- Ends the handler: the event will never work. The reason is for the operator.
function wasmill.reject(reason)
  error(setmetatable({ reason = tostring(reason), rejected = true }, Failure))
end

--- Ends the handler: it may work later, after a pause of `delay_ms` if that is given. Any other error is tried again too.
function wasmill.retry(reason, delay_ms)
  error(setmetatable({ reason = tostring(reason), delay_ms = delay_ms }, Failure))
end

local Output = {}

--- A result that is more than a value in JSON: `content_type`, and `emit`, a list of events to publish if the result commits. Each
--- of these has a `type`, and may have `data`, `datacontenttype`, `source`, `subject` and `extensions`. With a content type, `data` is
--- a string and the result as it is; without one it is written as JSON.
function wasmill.output(output)
  return setmetatable(output, Output)
end

--- Adds a line to the log; the level is trace, debug, info, warn or error. The values of `fields` are written as JSON.
function wasmill.log(level, message, fields)
  local number = LEVELS[level] or error("there is no level '" .. tostring(level) .. "'", 2)
  local texts = {}
  for name, value in pairs(fields or {}) do
    texts[#texts + 1] = tostring(name)
    texts[#texts + 1] = json.encode(value)
  end
  if is_hosted then host.log(number, tostring(message), texts) end
end

--- What is known about the execution at hand: id, tenant, name, version, attempt, max_attempts, deadline_ms, traceparent, …
function wasmill.execution() return host.execution() end

--- A string of random bytes.
function wasmill.random(count) return host.random(count) end

--- Waits.
function wasmill.sleep(seconds) host.sleep(seconds) end

--- The text of a file in the project's source folder, by its path there; nil where there is none.
function wasmill.file(path) return host.file(path) end

local Event = {}
Event.__index = Event

--- The data of an event as a Lua value; what is not JSON is rejected.
function Event:json()
  local is_json, value = pcall(json.decode, self.data or "")
  if not is_json then wasmill.reject("the data are not JSON: " .. tostring(value)) end
  return value
end

--- An event, as a handler gets it.
function wasmill.event(attributes) return setmetatable(attributes, Event) end

local function data_of(event)
  if event.content_type or event.datacontenttype then return event.data end
  return json.encode(event.data)
end

local function emitted(event)
  if type(event.type) ~= "string" then error("an event to emit has no type") end
  local made, extensions = {}, {}
  for name, value in pairs(event) do made[name] = value end
  if event.data ~= nil then made.data = data_of(event) end
  for name, value in pairs(event.extensions or {}) do
    extensions[#extensions + 1] = name
    extensions[#extensions + 1] = value
  end
  made.extensions = extensions
  return made
end

local function output_of(result)
  local output = getmetatable(result) == Output and result or { data = result }
  local made = { data = data_of(output), content_type = output.content_type, emit = {} }
  for at, event in ipairs(output.emit or {}) do made.emit[at] = emitted(event) end
  return made
end

local function failure_of(problem)
  if getmetatable(problem) == Failure then return problem end
  -- The error itself before the way to it: what is long is cut.
  return { reason = debug.traceback(tostring(problem), 2) }
end

--- What the host calls with a handler and an event.
function wasmill.answer(handler, attributes)
  local _, made = xpcall(function() return output_of(handler(wasmill.event(attributes))) end, failure_of)
  return made
end

return wasmill
