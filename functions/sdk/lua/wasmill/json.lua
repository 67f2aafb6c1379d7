--- JSON. A table is written as an array where its keys are 1 to n; `json.array {}` is the empty one, `json.null` stands for null.
--- Integers of 64 bits are exact, in both directions.
local json = {}

json.null = setmetatable({}, { __tostring = function() return "null" end })

local Array = {}

--- Makes a table that is written as an array, also when it is empty.
function json.array(values) return setmetatable(values, Array) end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function text(value)
  local escaped = value:gsub('[%c"\\\127]', function(c) return ESCAPES[c] or string.format("\\u%04x", c:byte()) end)
  return '"' .. escaped .. '"'
end

-- As few digits as tell it from every other number.
local function float(value)
  for digits = 15, 17 do
    local written = string.format("%." .. digits .. "g", value)
    if tonumber(written) == value then return written end
  end
end

local DEEPEST = 128
local write

local function write_table(value, into, depth)
  if depth > DEEPEST then error("a value is nested too deeply for JSON, or within itself") end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  if getmetatable(value) == Array or (count > 0 and count == #value) then
    into[#into + 1] = "["
    for at = 1, #value do
      if at > 1 then into[#into + 1] = "," end
      write(value[at], into, depth + 1)
    end
    into[#into + 1] = "]"
    return
  end
  local names = {}
  for name in pairs(value) do
    if type(name) ~= "string" then error("the keys of a table must be texts, or 1 to n, to be written as JSON") end
    names[#names + 1] = name
  end
  table.sort(names)
  into[#into + 1] = "{"
  for at, name in ipairs(names) do
    if at > 1 then into[#into + 1] = "," end
    into[#into + 1] = text(name) .. ":"
    write(value[name], into, depth + 1)
  end
  into[#into + 1] = "}"
end

function write(value, into, depth)
  local kind = math.type(value) or type(value)
  if value == nil or value == json.null then
    into[#into + 1] = "null"
  elseif kind == "string" then
    into[#into + 1] = text(value)
  elseif kind == "float" then
    if value ~= value or value == math.huge or value == -math.huge then error(value .. " cannot be written as JSON") end
    into[#into + 1] = float(value)
  elseif kind == "integer" or kind == "boolean" then
    into[#into + 1] = tostring(value)
  elseif kind == "table" then
    write_table(value, into, depth)
  else
    error("a " .. kind .. " cannot be written as JSON")
  end
end

--- A value as JSON; the names of an object are sorted.
function json.encode(value)
  local into = {}
  write(value, into, 0)
  return table.concat(into)
end

local function fail(at, what) error("at byte " .. at .. ": " .. what, 0) end

local UNESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

-- A character by its code in UTF-16, two of which may be one.
local function read_code(from, at)
  local code = tonumber(from:match("^%x%x%x%x", at) or fail(at, "four hex digits are expected"), 16)
  at = at + 4
  if code >= 0xD800 and code < 0xDC00 then
    local low = tonumber(from:match("^\\u(%x%x%x%x)", at) or "0", 16)
    if low >= 0xDC00 and low < 0xE000 then return utf8.char(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 6 end
  end
  -- Half a character is none.
  return utf8.char(code >= 0xD800 and code < 0xE000 and 0xFFFD or code), at
end

local function read_text(from, at)
  local parts = {}
  while true do
    local stop = from:find('[%c"\\]', at) or fail(at, "a text has no end")
    parts[#parts + 1] = from:sub(at, stop - 1)
    local found = from:sub(stop, stop)
    if found == '"' then return table.concat(parts), stop + 1 end
    if found ~= "\\" then fail(stop, "a control character in a text") end
    local letter = from:sub(stop + 1, stop + 1)
    if letter == "u" then
      parts[#parts + 1], at = read_code(from, stop + 2)
    else
      parts[#parts + 1], at = UNESCAPES[letter] or fail(stop, "an unknown escape"), stop + 2
    end
  end
end

local function read_number(from, at)
  local digits = from:match("^-?%d+", at) or fail(at, "a value is expected")
  if digits:find("^-?0%d") then fail(at, "a number begins with 0") end
  local after = at + #digits
  local rest = from:match("^%.%d+", after) or ""
  rest = rest .. (from:match("^[eE][+-]?%d+", after + #rest) or "")
  -- An integer beyond 64 bits becomes a float, as in Lua's own texts.
  return tonumber(digits .. rest), after + #rest
end

local function skip(from, at) return from:find("[^ \t\r\n]", at) or #from + 1 end

local read

local function read_items(from, at, closing, depth, add)
  if depth > DEEPEST then fail(at, "nested too deeply") end
  at = skip(from, at)
  if from:sub(at, at) == closing then return at + 1 end
  while true do
    at = skip(from, add(skip(from, at)))
    local found = from:sub(at, at)
    if found == closing then return at + 1 end
    if found ~= "," then fail(at, "',' or '" .. closing .. "' is expected") end
    at = at + 1
  end
end

function read(from, at, depth)
  local first = from:sub(at, at)
  if first == "{" then
    local object = {}
    return object, read_items(from, at + 1, "}", depth, function(at)
      if from:sub(at, at) ~= '"' then fail(at, "a name is expected") end
      local name
      name, at = read_text(from, at + 1)
      at = skip(from, at)
      if from:sub(at, at) ~= ":" then fail(at, "':' is expected") end
      object[name], at = read(from, skip(from, at + 1), depth + 1)
      return at
    end)
  elseif first == "[" then
    local array, count = json.array {}, 0
    return array, read_items(from, at + 1, "]", depth, function(at)
      count = count + 1
      array[count], at = read(from, at, depth + 1)
      return at
    end)
  elseif first == '"' then
    return read_text(from, at + 1)
  end
  local word = from:match("^%a+", at)
  if word == "true" then return true, at + 4 end
  if word == "false" then return false, at + 5 end
  if word == "null" then return json.null, at + 4 end
  return read_number(from, at)
end

--- The value of a text in JSON; null is `json.null`.
function json.decode(from)
  local value, at = read(from, skip(from, 1), 0)
  at = skip(from, at)
  if at <= #from then fail(at, "more than one value") end
  return value
end

return json
