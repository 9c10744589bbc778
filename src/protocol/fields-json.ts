// A message's fields as JSON, byte arrays as the JSON text that they are.
import type { FieldItem, Fields, FieldValue } from './fields.js'
import { array, object, objectOf, type Pieces, type PieceValue } from './json-pieces.js'

export function piecesOf(fields: Fields): Pieces {
  const members: Record<string, PieceValue> = {}
  for (const name of Object.keys(fields)) members[name] = pieceOf(fields[name])
  return object(members)
}

function pieceOf(value: FieldValue): PieceValue {
  if (typeof value !== 'object' || value instanceof Uint8Array) return value
  if (value instanceof Map) return objectOf(Array.from(value, ([name, item]) => [name, itemOf(item)]))
  return Array.isArray(value) ? array(value.map(itemOf)) : piecesOf(value)
}

function itemOf(item: FieldItem): Pieces {
  return typeof item === 'string' ? [JSON.stringify(item)] : piecesOf(item)
}
