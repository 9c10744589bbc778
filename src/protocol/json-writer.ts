// Writes a message as JSON and inserts payloads that are JSON already, byte for byte. Text and payloads are
// joined once, at the end.
import type { FieldItem, MessageFields, FieldValue } from './message-fields.js'

/**
 * Returns the JSON object of `fields`, in UTF-8. Members keep their order; undefined members are left out.
 */
export function writeJson(fields: MessageFields): Uint8Array {
  const writer = new JsonWriter()
  writer.fields(fields)
  return writer.end()
}

/** Collects text until a payload follows, so that there is one piece of text between two payloads. */
class JsonWriter {
  /** Alternates between text and payload. */
  readonly #pieces: (string | Uint8Array)[] = []
  #text = ''

  /** Joins all pieces. */
  end(): Uint8Array {
    const pieces = this.#pieces
    if (pieces.length === 0) return Buffer.from(this.#text)
    pieces.push(this.#text)
    const payload = Buffer.allocUnsafe(pieces.reduce((sum, piece) => sum + Buffer.byteLength(piece), 0))
    let at = 0
    for (const piece of pieces) {
      if (typeof piece === 'string') {
        at += payload.write(piece, at)
      } else {
        payload.set(piece, at)
        at += piece.byteLength
      }
    }
    return payload
  }

  /** Writes an object. Its names are part of the protocol and need no escapes. */
  fields(fields: MessageFields): void {
    let open = '{"'
    for (const name of Object.keys(fields)) {
      const value = fields[name]
      if (value === undefined) continue
      this.#text += `${open}${name}":`
      open = ',"'
      this.#value(value)
    }
    this.#text += open === ',"' ? '}' : '{}'
  }

  #value(value: Exclude<FieldValue, undefined>): void {
    if (typeof value !== 'object') this.#text += JSON.stringify(value)
    else if (value instanceof Uint8Array) this.#payload(value)
    else if (value instanceof Map) this.#map(value)
    else if (Array.isArray(value)) this.#items(value)
    else this.fields(value)
  }

  #payload(payload: Uint8Array): void {
    this.#pieces.push(this.#text, payload)
    this.#text = ''
  }

  /** Writes a map as an object. Its names come from clients and may contain any character. */
  #map(items: ReadonlyMap<string, FieldItem>): void {
    let open = '{'
    for (const [name, item] of items) {
      this.#text += `${open}${JSON.stringify(name)}:`
      open = ','
      this.#value(item)
    }
    this.#text += open === ',' ? '}' : '{}'
  }

  #items(items: readonly FieldItem[]): void {
    let open = '['
    for (const item of items) {
      this.#text += open
      open = ','
      this.#value(item)
    }
    this.#text += open === ',' ? ']' : '[]'
  }
}
