// Reads values that other programs sent.

export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns a string unchanged, and an empty string for any other value. */
export function textOrEmpty(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/**
 * Returns the text of a message. The page sends text as a JSON string; any other data is shown as compact
 * JSON.
 */
export function messageText(data: unknown): string {
  return typeof data === 'string' ? data : JSON.stringify(data)
}

/** Returns the size of `text` as the data of a publication, in bytes. */
export function dataBytes(text: string): number {
  return new TextEncoder().encode(JSON.stringify(text)).byteLength
}
