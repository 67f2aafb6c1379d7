// Counts the words of the text on standard input, which is the event's data; standard output is the result.
#include <cstdio>
#include <set>
#include <string>

int main() {
  std::string text;
  char buffer[4096];
  while (const size_t length = fread(buffer, 1, sizeof buffer, stdin)) text.append(buffer, length);

  unsigned long words = 0;
  std::set<std::string> different;
  constexpr auto space = " \t\r\n";
  for (size_t at = text.find_first_not_of(space); at != std::string::npos;) {
    const size_t end = text.find_first_of(space, at);
    different.insert(text.substr(at, end - at));
    words++;
    at = text.find_first_not_of(space, end);
  }
  if (words == 0) {
    // Standard error becomes log lines, and any status but 0 a failure.
    fputs("there are no words to count\n", stderr);
    return 1;
  }
  printf("{\"words\": %lu, \"different\": %zu}\n", words, different.size());
}
