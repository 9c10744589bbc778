// Writes JSON around payloads that nobody parses: text and raw bytes in order, put together once at the end.

/** Consecutive parts of one JSON text: strings are JSON text, byte arrays are JSON text in UTF-8 (a payload, as it came). */
export type Pieces = readonly (string | Uint8Array)[]

/** A member's value: a scalar to be written as JSON, a raw payload, something put together before, or undefined to leave it out. */
export type PieceValue = string | number | boolean | Uint8Array | Pieces | undefined

/** `{…}` with the members that are not undefined, in the order written. Their names are our own: they need no escapes. */
export function object(members: Readonly<Record<string, PieceValue>>): Pieces {
  const pieces: (string | Uint8Array)[] = []
  // Text gathers here, so that there is one piece of it between two payloads.
  let text = '{'
  let separator = '"'
  for (const name of Object.keys(members)) {
    const value = members[name]
    if (value === undefined) continue
    text += `${separator}${name}":`
    separator = ',"'
    if (typeof value !== 'object') {
      text += JSON.stringify(value)
      continue
    }
    for (const piece of value instanceof Uint8Array ? [value] : value) {
      if (typeof piece === 'string') {
        text += piece
        continue
      }
      pieces.push(text, piece)
      text = ''
    }
  }
  pieces.push(`${text}}`)
  return pieces
}

/** `{…}` with names from outside, which may be any text and need not be fit for a record's keys. */
export function objectOf(members: Iterable<readonly [string, Pieces]>): Pieces {
  const pieces: (string | Uint8Array)[] = []
  for (const [name, value] of members) {
    pieces.push(`${pieces.length === 0 ? '{' : ','}${JSON.stringify(name)}:`)
    for (const piece of value) pieces.push(piece)
  }
  pieces.push(pieces.length === 0 ? '{}' : '}')
  return pieces
}

/** `[…]` */
export function array(items: Iterable<Pieces>): Pieces {
  const pieces: (string | Uint8Array)[] = []
  for (const item of items) {
    pieces.push(pieces.length === 0 ? '[' : ',')
    for (const piece of item) pieces.push(piece)
  }
  pieces.push(pieces.length === 0 ? '[]' : ']')
  return pieces
}

/** One payload to send. */
export function weave(pieces: Pieces): Uint8Array {
  const [only] = pieces
  if (pieces.length === 1 && typeof only === 'string') return Buffer.from(only)
  let length = 0
  for (const piece of pieces) length += Buffer.byteLength(piece)
  const payload = Buffer.allocUnsafe(length)
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
