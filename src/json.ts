// Reading JSON of which nothing is known yet. Leaf: imports nothing of ours.

/** The parsed value; undefined, which no JSON value is, when `text` is not one. Without the error: its message quotes the text. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** An object with members: no array, and not null. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
