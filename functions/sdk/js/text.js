// UTF-8, which QuickJS has no TextEncoder and TextDecoder for, and percent-encoding.

/** @param {string} text a lone surrogate becomes U+FFFD */
export function encode(text) {
  const escaped = encodeURIComponent(text.toWellFormed());
  const bytes = new Uint8Array(escaped.length);
  let length = 0;
  for (let i = 0; i < escaped.length; i++) {
    if (escaped[i] === "%") {
      bytes[length++] = parseInt(escaped.slice(i + 1, i + 3), 16);
      i += 2;
    } else {
      bytes[length++] = escaped.charCodeAt(i);
    }
  }
  return bytes.slice(0, length);
}

/** @param {Uint8Array} bytes @returns {string} what is not UTF-8 becomes U+FFFD */
export function decode(bytes) {
  const [text, rest] = decodeSome(bytes);
  return rest === 0 ? text : `${text}\ufffd`;
}

// The text, and how many bytes at the end begin a character that is not whole. `broken` says what stands for bytes that are none.
function decodeSome(bytes, broken = () => "\ufffd") {
  let text = "";
  let point = 0;
  let missing = 0;
  let begun = 0;
  let [low, high] = [0x80, 0xbf];
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (missing > 0 && (byte < low || byte > high)) {
      text += broken();
      missing = 0;
      begun = 0;
    }
    if (missing > 0) {
      [low, high] = [0x80, 0xbf];
      point = (point << 6) | (byte & 0x3f);
      begun++;
      if (--missing === 0) {
        text += String.fromCodePoint(point);
        begun = 0;
      }
    } else if (byte < 0x80) {
      text += String.fromCharCode(byte);
    } else if (byte >= 0xc2 && byte <= 0xf4) {
      missing = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
      point = byte & (0x3f >> missing);
      begun = 1;
      low = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
      high = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
    } else {
      text += broken();
    }
  }
  return [text, begun];
}

/** Percent-encodes control characters, what is not ASCII, and the characters of `set`. */
export function escape(text, set) {
  let escaped = "";
  for (const character of text) {
    const point = character.codePointAt(0);
    const stays = point > 0x1f && point < 0x7f && !set.includes(character);
    escaped += stays
      ? character
      : Array.from(encode(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
  }
  return escaped;
}

/** Takes percent-encoding out; what is none stays. */
export function unescape(text) {
  const bytes = encode(text);
  const plain = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const hex = bytes[i] === 0x25 ? String.fromCharCode(bytes[i + 1], bytes[i + 2]) : "";
    const isEscape = /^[0-9a-f]{2}$/i.test(hex);
    plain[length++] = isEscape ? parseInt(hex, 16) : bytes[i];
    if (isEscape) i += 2;
  }
  return decode(plain.subarray(0, length));
}

export class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(text = "") {
    return encode(String(text));
  }

  encodeInto(text, bytes) {
    let [read, written] = [0, 0];
    for (const character of text) {
      const encoded = encode(character);
      if (written + encoded.length > bytes.length) break;
      bytes.set(encoded, written);
      written += encoded.length;
      read += character.length;
    }
    return { read, written };
  }
}

export class TextDecoder {
  #rest = new Uint8Array(0);
  #isBegun = false;

  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!/^\s*(utf-?8|unicode-1-1-utf-8)\s*$/i.test(label))
      throw new RangeError(`TextDecoder: '${label}' is not here, only utf-8`);
    Object.assign(this, { encoding: "utf-8", fatal, ignoreBOM });
  }

  decode(data = new Uint8Array(0), { stream = false } = {}) {
    const given = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data);
    const bytes = new Uint8Array(this.#rest.length + given.length);
    bytes.set(this.#rest);
    bytes.set(given, this.#rest.length);
    const broken = () => {
      if (this.fatal) throw new TypeError("TextDecoder: the data is not UTF-8");
      return "\ufffd";
    };
    this.#rest = new Uint8Array(0);
    let [text, rest] = decodeSome(bytes, broken);
    if (rest > 0 && stream) this.#rest = bytes.slice(bytes.length - rest);
    else if (rest > 0) text += broken();
    if (!this.#isBegun && !this.ignoreBOM && text.startsWith("\ufeff")) text = text.slice(1);
    this.#isBegun = stream && (this.#isBegun || text !== "");
    return text;
  }
}
