--- Counts the words of the text on standard input, which is the event's data; standard output is the result.
local text = io.read "a"
local _, words = text:gsub("%S+", "")
local _, lines = text:gsub("\n", "")
if words == 0 then
  -- Standard error becomes log lines, and any status but 0 a failure.
  io.stderr:write "there are no words to count\n"
  os.exit(1)
end
print(string.format('{"lines":%d,"words":%d}', lines, words))
