// A message's fields as JSON, byte arrays as the JSON text that they are.
import type { FieldItem, Fields, FieldValue } from './fields.js'
import type { Pieces } from './json-pieces.js'

export function piecesOf(fields: Fields): Pieces {
  const writer = new FieldsWriter()
  writer.fields(fields)
  return writer.pieces()
}

/** Goes through a message once. Text gathers, so that there is one piece of it between two byte arrays. */
class FieldsWriter {
  readonly #pieces: (string | Uint8Array)[] = []
  #text = ''

  pieces(): Pieces {
    this.#pieces.push(this.#text)
    return this.#pieces
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
    else if (value instanceof Uint8Array) this.#bytes(value)
    else if (value instanceof Map) this.#named(value)
    else if (Array.isArray(value)) this.#items(value)
    else this.fields(value)
  }

  #bytes(bytes: Uint8Array): void {
    this.#pieces.push(this.#text, bytes)
    this.#text = ''
  }

  /** Names from outside may be any text. */
  #named(items: ReadonlyMap<string, FieldItem>): void {
    let open = '{'
    for (const [name, item] of items) {
      this.#text += `${open}${JSON.stringify(name)}:`
      open = ','
      this.#item(item)
    }
    this.#text += open === ',' ? '}' : '{}'
  }

  #items(items: readonly FieldItem[]): void {
    let open = '['
    for (const item of items) {
      this.#text += open
      open = ','
      this.#item(item)
    }
    this.#text += open === ',' ? ']' : '[]'
  }

  #item(item: FieldItem): void {
    if (typeof item === 'string') this.#text += JSON.stringify(item)
    else this.fields(item)
  }
}
