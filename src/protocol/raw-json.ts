// Extracts values from a JSON text as text, without parsing them. `1.0` stays `1.0`, and the order of keys,
// duplicate keys, large numbers and escapes are preserved; JSON.parse followed by JSON.stringify would change
// them.

/** Largest nesting depth of arrays and objects in a payload. Parsers of some clients crash on deeper ones. */
export const payloadDepthMax = 128

const quote = 0x22
const comma = 0x2c
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/**
 * Returns the text of the value at `path` (member names, outermost first) as it was written, except that line
 * breaks between tokens are removed. Returns undefined where reading the parsed value would. As in
 * JSON.parse, the last of duplicate keys counts, and keys may contain escapes. `text` must be valid JSON,
 * which is not checked. Takes time linear in `text` for each step of the path.
 */
export function rawValue(text: string, path: readonly string[]): string | undefined {
  let at = skipSpace(text, 0)
  for (const key of path) {
    const member = memberStart(text, at, key)
    if (member === undefined) return undefined
    at = member
  }
  return withoutLineBreaks(text.slice(at, valueEnd(text, at)))
}

/**
 * Returns the texts of the items of the array at `path`, each as `rawValue` returns it, or undefined when
 * there is no array. Takes time linear in `text`.
 */
export function rawItems(text: string, path: readonly string[]): string[] | undefined {
  const array = rawValue(text, path)
  if (array?.charCodeAt(0) !== openBracket) return undefined
  const items: string[] = []
  let at = skipSpace(array, 1)
  while (at < array.length - 1) {
    const end = valueEnd(array, at)
    items.push(array.slice(at, end))
    at = skipSpace(array, end)
    if (array.charCodeAt(at) === comma) at = skipSpace(array, at + 1)
  }
  return items
}

/** Returns the nesting depth of arrays and objects: 0 for a scalar, 1 for `[]`. `text` must be valid JSON. */
export function nestingDepth(text: string): number {
  let depth = 0
  let deepest = 0
  let at = 0
  while (at < text.length) {
    const char = text.charCodeAt(at)
    if (char === quote) {
      at = stringEnd(text, at)
      continue
    }
    if (char === openBracket || char === openBrace) deepest = Math.max(deepest, (depth += 1))
    else if (char === closeBracket || char === closeBrace) depth -= 1
    at += 1
  }
  return deepest
}

/**
 * Returns the index at which the value of `key` starts in the object that starts at `open`, or undefined when
 * there is no such member or no object.
 */
function memberStart(text: string, open: number, key: string): number | undefined {
  if (text.charCodeAt(open) !== openBrace) return undefined
  let found: number | undefined
  let at = skipSpace(text, open + 1)
  while (text.charCodeAt(at) === quote) {
    const keyEnd = stringEnd(text, at)
    const colon = skipSpace(text, keyEnd)
    const start = skipSpace(text, colon + 1)
    if (isKey(text.slice(at + 1, keyEnd - 1), key)) found = start
    at = skipSpace(text, valueEnd(text, start))
    if (text.charCodeAt(at) === comma) at = skipSpace(text, at + 1)
  }
  return found
}

function isKey(written: string, key: string): boolean {
  return written.includes('\\') ? JSON.parse(`"${written}"`) === key : written === key
}

/** Returns the index after the value that starts at `at`. */
function valueEnd(text: string, at: number): number {
  const first = text.charCodeAt(at)
  if (first === quote) return stringEnd(text, at)
  if (first === openBracket || first === openBrace) return containerEnd(text, at)
  let end = at
  while (end < text.length && !endsScalar(text.charCodeAt(end))) end += 1
  return end
}

function containerEnd(text: string, open: number): number {
  let depth = 0
  let at = open
  while (at < text.length) {
    const char = text.charCodeAt(at)
    if (char === quote) {
      at = stringEnd(text, at)
      continue
    }
    at += 1
    if (char === openBracket || char === openBrace) depth += 1
    else if ((char === closeBracket || char === closeBrace) && (depth -= 1) === 0) return at
  }
  return at
}

/** Returns the index after the closing quote of the string that starts at `open`. */
function stringEnd(text: string, open: number): number {
  let close = text.indexOf('"', open + 1)
  while (close !== -1 && isEscaped(text, close)) close = text.indexOf('"', close + 1)
  return close === -1 ? text.length : close + 1
}

/**
 * True when an odd number of backslashes precedes `at`. Each run of backslashes is counted once, so a whole
 * string takes linear time.
 */
function isEscaped(text: string, at: number): boolean {
  let start = at
  while (text.charCodeAt(start - 1) === backslash) start -= 1
  return (at - start) % 2 === 1
}

function endsScalar(char: number): boolean {
  return char === comma || char === closeBracket || char === closeBrace || isSpace(char)
}

function isSpace(char: number): boolean {
  return char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (isSpace(text.charCodeAt(at))) at += 1
  return at
}

/**
 * Removes line breaks. JSON strings contain none unescaped, so all of them are between tokens. In a
 * Centrifuge frame a line break separates two objects, so a payload must not contain one.
 */
function withoutLineBreaks(json: string): string {
  return /[\n\r]/.test(json) ? json.replaceAll(/[\n\r]+/g, '') : json
}
