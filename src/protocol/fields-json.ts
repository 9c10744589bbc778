// Writes a message's fields as JSON around payloads that nobody parses: text and raw bytes in order, put together once at the end.
import type { FieldItem, Fields, FieldValue } from './fields.js'

/** `{…}` with the members that are not undefined, in the order written. */
export function writeJson(fields: Fields): Uint8Array {
  const writer = new JsonWriter()
  writer.fields(fields)
  return writer.end()
}

/** Text gathers, so that there is one piece of it between two payloads. */
class JsonWriter {
  /** Text and payload, by turns. */
  readonly #pieces: (string | Uint8Array)[] = []
  #text = ''

  /** One payload to send. */
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

  /** Their names are our own: they need no escapes. */
  fields(fields: Fields): void {
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
    else if (value instanceof Map) this.#named(value)
    else if (Array.isArray(value)) this.#items(value)
    else this.fields(value)
  }

  #payload(payload: Uint8Array): void {
    this.#pieces.push(this.#text, payload)
    this.#text = ''
  }

  /** Names from outside may be any text. */
  #named(items: ReadonlyMap<string, FieldItem>): void {
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
