// Looks at values that came from outside.

export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The string itself; nothing for what is none. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** What a message says: text is sent as a JSON string, and anything else a program may send is shown as compact JSON. */
export function messageText(data: unknown): string {
  return typeof data === 'string' ? data : JSON.stringify(data)
}

/** How many bytes `text` is as a publication's data. */
export function dataBytes(text: string): number {
  return new TextEncoder().encode(JSON.stringify(text)).byteLength
}
