--- The text that greets somebody.
return function(name)
  local trimmed = name:match "^%s*(.-)%s*$"
  return trimmed == "" and "Hello!" or "Hello, " .. trimmed .. "!"
end
