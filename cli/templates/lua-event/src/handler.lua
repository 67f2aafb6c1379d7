--- Greets whoever the event names.
local wasmill = require "wasmill"
local greet = require "greeting"

return function(event)
  local request = event:json()
  if type(request) ~= "table" or type(request.name) ~= "string" then
    wasmill.reject("the data must be an object with a name")
  end
  wasmill.log("info", "greeted", { name = request.name })
  return { greeting = greet(request.name) }
end
