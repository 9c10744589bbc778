// Helpers for JSON from outside, before its shape is known. This file is a leaf (see errors.ts).

/**
 * Parses `text`. Returns undefined, which is no JSON value, when `text` is not valid JSON. The parser's error
 * is dropped because its message quotes the text, which may contain a secret.
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Returns the value at `path` (member names and array indexes), or undefined when there is none. Reads own
 * properties only.
 */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let found = value
  for (const step of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, step)) return undefined
    found = Reflect.get(found, step)
  }
  return found
}

/** True for an object that is neither null nor an array. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
