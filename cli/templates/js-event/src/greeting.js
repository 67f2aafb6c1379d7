/** @param {string} name */
export function greet(name) {
  const trimmed = name.trim();
  return trimmed === "" ? "Hello!" : `Hello, ${trimmed}!`;
}
