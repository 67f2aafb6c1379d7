// Hosts of URLs by the URL Standard: names, IPv4 and IPv6 addresses.
import { escape, unescape } from "./text.js";

const FORBIDDEN = /[\0-\x20"#%/:<>?@[\\\]^`{|}\x7f]/;
const FORBIDDEN_OPAQUE = /[\0\t\n\r #/:<>?@[\\\]^|]/;

/** The host in its one spelling. */
export function hostOf(text, isSpecial) {
  if (text.startsWith("[") !== text.endsWith("]")) fail();
  if (text.startsWith("[")) return `[${ipv6(text.slice(1, -1))}]`;
  if (!isSpecial) {
    if (FORBIDDEN_OPAQUE.test(text)) fail();
    return escape(text, "");
  }
  const name = unescape(text)
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[\u3002\uff0e\uff61]/g, ".")
    .replaceAll("\u00ad", "");
  const ascii = name.split(".").map(label).join(".");
  if (ascii === "" || FORBIDDEN.test(ascii)) fail();
  const last = ascii.replace(/\.$/, "").split(".").pop();
  return /^(\d+|0x[0-9a-f]*)$/.test(last) ? ipv4(ascii.replace(/\.$/, "").split(".")) : ascii;
}

function fail() {
  throw new TypeError("Invalid URL");
}

function ipv4(parts) {
  if (parts.length > 4) fail();
  const numbers = parts.map((part) => {
    const [digits, radix] = /^0x/.test(part) ? [part.slice(2), 16] : /^0./.test(part) ? [part.slice(1), 8] : [part, 10];
    const valid = { 8: /^[0-7]+$/, 10: /^\d+$/, 16: /^[0-9a-f]*$/ }[radix].test(digits);
    return valid ? parseInt(digits || "0", radix) : fail();
  });
  const rest = numbers.pop();
  if (numbers.some((number) => number > 255) || rest >= 256 ** (4 - numbers.length)) fail();
  const address = numbers.reduce((sum, number, i) => sum + number * 256 ** (3 - i), rest);
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

function ipv6(text) {
  const halves = text.split("::");
  if (halves.length > 2) fail();
  const pieces = (half, isLast) => {
    if (half === "") return [];
    return half.split(":").flatMap((piece, i, all) => {
      if (isLast && i === all.length - 1 && /^(\d{1,3}\.){3}\d{1,3}$/.test(piece)) {
        const [a, b, c, d] = piece.split(".").map(Number);
        return [a, b, c, d].some((n) => n > 255) ? fail() : [a * 256 + b, c * 256 + d];
      }
      return /^[0-9a-f]{1,4}$/i.test(piece) ? [parseInt(piece, 16)] : fail();
    });
  };
  const [before, after] = [pieces(halves[0], halves.length === 1), pieces(halves[1] ?? "", true)];
  const missing = 8 - before.length - after.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) fail();
  const all = [...before, ...Array(missing).fill(0), ...after].map((piece) => piece.toString(16));
  // The first of the longest runs of two zeros and more is left out.
  const runs = [
    ...all
      .map((piece) => (piece === "0" ? "0" : "-"))
      .join("")
      .matchAll(/0{2,}/g),
  ];
  const longest = runs.reduce((best, run) => (run[0].length > (best?.[0].length ?? 0) ? run : best), undefined);
  if (!longest) return all.join(":");
  return `${all.slice(0, longest.index).join(":")}::${all.slice(longest.index + longest[0].length).join(":")}`;
}

// A label in Punycode (RFC 3492), where it is not ASCII.
function label(text) {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  const points = Array.from(text, (character) => character.codePointAt(0));
  const digit = (value) => String.fromCharCode(value < 26 ? value + 97 : value + 22);
  let made = points
    .filter((point) => point < 0x80)
    .map((point) => String.fromCharCode(point))
    .join("");
  const basic = made.length;
  if (basic > 0) made += "-";
  let [n, delta, bias, handled] = [0x80, 0, 72, basic];
  while (handled < points.length) {
    const next = Math.min(...points.filter((point) => point >= n));
    delta += (next - n) * (handled + 1);
    n = next;
    for (const point of points) {
      if (point < n) delta++;
      if (point !== n) continue;
      let rest = delta;
      for (let k = 36; ; k += 36) {
        const threshold = Math.min(Math.max(k - bias, 1), 26);
        if (rest < threshold) break;
        made += digit(threshold + ((rest - threshold) % (36 - threshold)));
        rest = Math.floor((rest - threshold) / (36 - threshold));
      }
      made += digit(rest);
      let scaled = Math.floor(handled === basic ? delta / 700 : delta / 2);
      scaled += Math.floor(scaled / (handled + 1));
      let k = 0;
      for (; scaled > 455; k += 36) scaled = Math.floor(scaled / 35);
      bias = k + Math.floor((36 * scaled) / (scaled + 38));
      delta = 0;
      handled++;
    }
    delta++;
    n++;
  }
  return `xn--${made}`;
}
