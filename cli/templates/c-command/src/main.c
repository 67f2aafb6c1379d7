/* Counts the words of the text on standard input, which is the event's data; standard output is the result. */
#include <ctype.h>
#include <stdio.h>

int main(void) {
  unsigned long lines = 0, words = 0;
  int in_word = 0;
  for (int c; (c = getchar()) != EOF;) {
    lines += c == '\n';
    words += !isspace(c) && !in_word;
    in_word = !isspace(c);
  }
  if (words == 0) {
    /* Standard error becomes log lines, and any status but 0 a failure. */
    fputs("there are no words to count\n", stderr);
    return 1;
  }
  printf("{\"lines\": %lu, \"words\": %lu}\n", lines, words);
  return 0;
}
