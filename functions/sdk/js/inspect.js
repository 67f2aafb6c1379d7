// Values as `console` shows them.

const DEEPEST = 4;

/** A value as text. Never throws. */
export function shown(value) {
  try {
    return inspect(value, 0, []);
  } catch {
    return "[a value that cannot be shown]";
  }
}

/**
 * What `console` makes of its arguments: the specifiers in the first one, where it is a text, stand for those that follow it
 * (https://console.spec.whatwg.org/#formatter). Never throws.
 */
export function formatted(values) {
  const [first, ...rest] = values;
  let used = 0;
  const filled = (specifier) => {
    if (specifier === "%%") return "%";
    return used < rest.length ? converted(specifier, rest[used++]) : specifier;
  };
  if (typeof first !== "string" || rest.length === 0) return values.map(shown).join(" ");
  const text = first.replace(/%[sdifoOc%]/g, filled);
  return [text, ...rest.slice(used).map(shown)].join(" ");
}

function converted(specifier, value) {
  try {
    switch (specifier) {
      case "%s":
        return String(value);
      case "%d":
      case "%i":
        return typeof value === "symbol" ? "NaN" : String(parseInt(value, 10));
      case "%f":
        return typeof value === "symbol" ? "NaN" : String(parseFloat(value));
      case "%c":
        // Style, of which a log has none.
        return "";
    }
  } catch {
    // It cannot be made a text or a number.
  }
  return shown(value);
}

function inspect(value, depth, above) {
  if (typeof value === "string") return depth === 0 ? value : JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[function ${value.name}]`;
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "-0" : String(value);
  if (value instanceof Error) return `${value}\n${value.stack ?? ""}`.trim();
  if (value instanceof Date || value instanceof RegExp) return String(value);
  if (above.includes(value)) return "[circular]";
  if (depth === DEEPEST) return Array.isArray(value) ? "[…]" : "{…}";
  const inner = (item) => inspect(item, depth + 1, [...above, value]);
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) {
    return `[${Array.from(value, inner).join(", ")}]`;
  }
  if (value instanceof Set) return `Set {${Array.from(value, inner).join(", ")}}`;
  if (value instanceof Map)
    return `Map {${Array.from(value, ([key, item]) => `${inner(key)} => ${inner(item)}`).join(", ")}}`;
  const name = value.constructor?.name || "Object";
  const fields = Object.entries(value).map(([key, item]) => `${key}: ${inner(item)}`);
  return `${name === "Object" ? "" : `${name} `}{${fields.join(", ")}}`;
}
