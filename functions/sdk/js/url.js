// URL and URLSearchParams by the URL Standard (https://url.spec.whatwg.org), without the drive letters of `file:` and with
// Unicode's own folding (NFKC, lower case) in place of the tables of UTS 46.
import { hostOf } from "./host.js";
import { escape, unescape } from "./text.js";

const SPECIAL = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443", "ftp:": "21", "file:": "" };
const FRAGMENT = ' "<>`';
const QUERY = ' "#<>';
const PATH = `${QUERY}?^\`{}`;
const USERINFO = `${PATH}/:;=@[\\]|`;

const isSpecial = (url) => Object.hasOwn(SPECIAL, url.protocol);
const needsHost = (url) => isSpecial(url) && url.protocol !== "file:";

function split(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)];
}

function pathOf(text, url, above = []) {
  const segments = [...above];
  const parts = (isSpecial(url) ? text.replaceAll("\\", "/") : text).split("/");
  parts.forEach((part, i) => {
    const plain = part.replace(/%2e/gi, ".");
    const isLast = i === parts.length - 1;
    if (plain === "..") segments.pop();
    if (plain === "." || plain === "..") {
      if (isLast) segments.push("");
    } else {
      segments.push(escape(part, PATH));
    }
  });
  return segments;
}

function setAuthority(url, authority) {
  if (url.protocol === "file:") {
    // All of it is the host: a file has no user and no port.
    const host = authority === "" ? "" : hostOf(authority, true);
    url.host = host === "localhost" ? "" : host;
    return;
  }
  const at = authority.lastIndexOf("@");
  if (at >= 0) {
    const [name, password] = split(authority.slice(0, at), ":");
    url.username = escape(name, USERINFO);
    url.password = escape(password ?? "", USERINFO);
  }
  const [, host, , port] = /^(\[[^\]]*\]|[^:]*)(:(.*))?$/s.exec(authority.slice(at + 1)) ?? fail();
  if (host === "" && (needsHost(url) || at >= 0 || port)) fail();
  setPort(url, port ?? "");
  url.host = host === "" ? "" : hostOf(host, isSpecial(url));
}

function setPort(url, port) {
  if (!/^\d*$/.test(port) || Number(port) > 65535) fail();
  url.port = port === "" || String(Number(port)) === SPECIAL[url.protocol] ? "" : String(Number(port));
}

function fail() {
  throw new TypeError("Invalid URL");
}

const queryOf = (query, url) => (query === null ? null : escape(query, isSpecial(url) ? `${QUERY}'` : QUERY));
const fragmentOf = (fragment) => (fragment === null ? null : escape(fragment, FRAGMENT));

function parse(input, base) {
  const text = input
    .toWellFormed()
    .replace(/^[\0-\x20]+|[\0-\x20]+$/g, "")
    .replace(/[\t\n\r]/g, "");
  const scheme = /^([a-z][a-z0-9+.-]*:)(.*)$/is.exec(text);
  const url = { protocol: "", username: "", password: "", host: null, port: "", path: [], query: null, fragment: null };
  const [beforeFragment, fragment] = split(scheme ? scheme[2] : text, "#");
  const [rest, query] = split(beforeFragment, "?");
  if (scheme) {
    url.protocol = scheme[1].toLowerCase();
    const slashed = isSpecial(url) ? rest.replaceAll("\\", "/") : rest;
    if (!(isSpecial(url) && base?.protocol === url.protocol && !slashed.startsWith("//"))) {
      parseAbsolute(url, rest, slashed);
      return Object.assign(url, { query: queryOf(query, url), fragment: fragmentOf(fragment) });
    }
  }
  if (!base) fail();
  url.protocol = base.protocol;
  parseRelative(url, rest, base);
  const inherits = rest === "" && query === null;
  if (typeof base.path === "string" && !(inherits && fragment !== null)) fail();
  return Object.assign(url, { query: inherits ? base.query : queryOf(query, url), fragment: fragmentOf(fragment) });
}

// Of schemes that need a host, any number of slashes is as good as the two before it.
function setAuthorityAndPath(url, rest, slashed) {
  const start = needsHost(url) ? /^\/*/.exec(slashed)[0].length : 2;
  const end = slashed.indexOf("/", start);
  setAuthority(url, rest.slice(start, end < 0 ? undefined : end));
  if (end >= 0) url.path = pathOf(rest.slice(end + 1), url);
  else if (isSpecial(url)) url.path = [""];
}

function parseAbsolute(url, rest, slashed) {
  if (needsHost(url) || slashed.startsWith("//")) {
    setAuthorityAndPath(url, rest, slashed);
  } else if (url.protocol === "file:") {
    url.host = "";
    url.path = pathOf(slashed.replace(/^\//, ""), url);
  } else if (slashed.startsWith("/")) {
    url.path = pathOf(rest.slice(1), url);
  } else {
    url.path = escape(rest, "");
  }
}

function parseRelative(url, rest, base) {
  const slashed = isSpecial(url) ? rest.replaceAll("\\", "/") : rest;
  if (slashed.startsWith("//")) return setAuthorityAndPath(url, rest, slashed);
  const { username, password, host, port } = base;
  Object.assign(url, { username, password, host, port });
  if (slashed.startsWith("/")) url.path = pathOf(rest.slice(1), url);
  else
    url.path = rest === "" ? base.path : pathOf(rest, url, typeof base.path === "string" ? [] : base.path.slice(0, -1));
}

export class URL {
  #url;
  #params;

  constructor(input, base) {
    try {
      this.#url = parse(String(input), base === undefined ? undefined : parse(String(base)));
    } catch {
      throw Object.assign(new TypeError(`Invalid URL: '${input}'`), { code: "ERR_INVALID_URL", input: String(input) });
    }
  }

  static canParse(input, base) {
    return URL.parse(input, base) !== null;
  }

  static parse(input, base) {
    try {
      return new URL(input, base);
    } catch {
      return null;
    }
  }

  get href() {
    const { protocol, username, password, query, fragment } = this.#url;
    const user = username || password ? `${username}${password ? `:${password}` : ""}@` : "";
    const authority = this.#url.host === null ? "" : `//${user}${this.host}`;
    // Without a host, a path that began with two slashes would be read as one.
    const guard = this.#url.host === null && this.pathname.startsWith("//") ? "/." : "";
    return `${protocol}${authority}${guard}${this.pathname}${query === null ? "" : `?${query}`}${fragment === null ? "" : `#${fragment}`}`;
  }

  set href(value) {
    this.#url = new URL(value).#url;
    this.#reread();
  }

  get origin() {
    const isOpaque = !isSpecial(this.#url) || this.protocol === "file:";
    return isOpaque ? "null" : `${this.protocol}//${this.host}`;
  }

  get protocol() {
    return this.#url.protocol;
  }

  set protocol(value) {
    const wanted = { protocol: `${String(value).split(":")[0].toLowerCase()}:` };
    if (isSpecial(wanted) !== isSpecial(this.#url) || !/^[a-z][a-z0-9+.-]*:$/.test(wanted.protocol)) return;
    this.#url.protocol = wanted.protocol;
    setPort(this.#url, this.#url.port);
  }

  get username() {
    return this.#url.username;
  }

  set username(value) {
    if (this.#url.host) this.#url.username = escape(String(value), USERINFO);
  }

  get password() {
    return this.#url.password;
  }

  set password(value) {
    if (this.#url.host) this.#url.password = escape(String(value), USERINFO);
  }

  get host() {
    return `${this.#url.host ?? ""}${this.#url.port && `:${this.#url.port}`}`;
  }

  set host(value) {
    this.#change((url) => setAuthority(url, String(value).split(/[/?#@]/)[0]));
  }

  get hostname() {
    return this.#url.host ?? "";
  }

  set hostname(value) {
    this.#change((url) => (url.host = hostOf(String(value).split(/[/?#]/)[0], isSpecial(url))));
  }

  get port() {
    return this.#url.port;
  }

  set port(value) {
    if (this.#url.host && this.protocol !== "file:") this.#change((url) => setPort(url, /^\d*/.exec(String(value))[0]));
  }

  get pathname() {
    const { path } = this.#url;
    return typeof path === "string" ? path : path.map((segment) => `/${segment}`).join("");
  }

  set pathname(value) {
    if (typeof this.#url.path !== "string")
      this.#url.path = pathOf(String(value).replace(isSpecial(this.#url) ? /^[/\\]/ : /^\//, ""), this.#url);
  }

  get search() {
    return this.#url.query ? `?${this.#url.query}` : "";
  }

  set search(value) {
    const text = String(value).replace(/^\?/, "");
    this.#url.query = text === "" ? null : queryOf(text, this.#url);
    this.#reread();
  }

  get searchParams() {
    this.#params ??= new URLSearchParams(this.#url.query ?? "", (params) => (this.#url.query = String(params) || null));
    return this.#params;
  }

  get hash() {
    return this.#url.fragment ? `#${this.#url.fragment}` : "";
  }

  set hash(value) {
    const text = String(value).replace(/^#/, "");
    this.#url.fragment = text === "" ? null : fragmentOf(text);
  }

  toString() {
    return this.href;
  }

  toJSON() {
    return this.href;
  }

  // Setters leave the URL as it is where the new value is none.
  #change(change) {
    const changed = { ...this.#url };
    try {
      change(changed);
      this.#url = changed;
    } catch {
      // As it was.
    }
  }

  #reread() {
    this.#params?.reread(this.#url.query ?? "");
  }
}

const plus = (text) => unescape(text.replaceAll("+", " "));
const form = (text) => escape(text, " !\"#$%&'()+,/:;<=>?@[\\]^`{|}~").replaceAll("%20", "+");

export class URLSearchParams {
  #pairs = [];
  #changed;

  constructor(init = "", changed = () => {}) {
    this.#changed = changed;
    const text = ([name, value]) => [String(name).toWellFormed(), String(value).toWellFormed()];
    if (typeof init !== "object" || init === null) this.reread(String(init).replace(/^\?/, ""));
    else this.#pairs = Array.from(typeof init[Symbol.iterator] === "function" ? init : Object.entries(init), text);
  }

  /** For URL: the query has changed. */
  reread(query) {
    this.#pairs = query
      .split("&")
      .filter(Boolean)
      .map((pair) => split(pair, "=").map((part) => plus(part ?? "")));
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    this.#pairs.push([String(name).toWellFormed(), String(value).toWellFormed()]);
    this.#changed(this);
  }

  delete(name, value) {
    this.#pairs = this.#pairs.filter(
      (pair) => pair[0] !== String(name) || (value !== undefined && pair[1] !== String(value)),
    );
    this.#changed(this);
  }

  get(name) {
    return this.#pairs.find((pair) => pair[0] === String(name))?.[1] ?? null;
  }

  getAll(name) {
    return this.#pairs.filter((pair) => pair[0] === String(name)).map((pair) => pair[1]);
  }

  has(name, value) {
    return this.#pairs.some((pair) => pair[0] === String(name) && (value === undefined || pair[1] === String(value)));
  }

  set(name, value) {
    const at = this.#pairs.findIndex((pair) => pair[0] === String(name));
    this.#pairs = this.#pairs.filter((pair, i) => i === at || pair[0] !== String(name));
    if (at < 0) return this.append(name, value);
    this.#pairs[at] = [String(name), String(value).toWellFormed()];
    this.#changed(this);
  }

  sort() {
    this.#pairs.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
    this.#changed(this);
  }

  forEach(callback, self) {
    for (const [name, value] of this.#pairs) callback.call(self, value, name, this);
  }

  *keys() {
    for (const [name] of this.#pairs) yield name;
  }

  *values() {
    for (const [, value] of this.#pairs) yield value;
  }

  *entries() {
    for (const [name, value] of this.#pairs) yield [name, value];
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  toString() {
    return this.#pairs.map(([name, value]) => `${form(name)}=${form(value)}`).join("&");
  }
}
