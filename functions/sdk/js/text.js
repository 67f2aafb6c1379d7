// UTF-8, which QuickJS has no TextEncoder and TextDecoder for.

/** @param {string} text */
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
  let text = "";
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i++];
    if (first < 0x80) {
      text += String.fromCharCode(first);
      continue;
    }
    const more = first >= 0xf0 && first < 0xf5 ? 3 : first >= 0xe0 ? 2 : first >= 0xc2 ? 1 : 0;
    let point = first & (0x3f >> more);
    let read = 0;
    while (read < more && (bytes[i] & 0xc0) === 0x80) {
      point = (point << 6) | (bytes[i++] & 0x3f);
      read++;
    }
    const smallest = [0x80, 0x80, 0x800, 0x10000][more];
    const fits = more > 0 && first < 0xf5 && read === more && point >= smallest && point < 0x110000;
    text += fits && (point < 0xd800 || point > 0xdfff) ? String.fromCodePoint(point) : "\ufffd";
  }
  return text;
}
