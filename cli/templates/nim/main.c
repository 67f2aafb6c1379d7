/* Where a program begins. The `main` that Nim makes takes the environment as well, which WASI's start does not call. */
int nim_main(int count, char **arguments, char **environment);
extern char **environ;

#undef main
int main(int count, char **arguments) { return nim_main(count, arguments, environ); }
