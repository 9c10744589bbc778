// Protobuf messages by table: bytes to fields and back. The one door to @bufbuild/protobuf, of which only the wire format is used.
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { FieldItem, Fields, FieldValue } from '../fields.js'

type Scalar = 'string' | 'bytes' | 'bool' | 'int32' | 'uint32' | 'int64' | 'uint64'

type ItemKind = MessageType | 'string'

/** What one field holds: a value, a message, several of them, or some by name (`absent`: an entry's value that was left out). */
type Kind =
  | Scalar
  | MessageType
  | { readonly repeated: ItemKind }
  | { readonly entries: MessageType; readonly absent: FieldItem }

interface Field {
  readonly name: string
  readonly kind: Kind
  readonly number: number
  readonly wireType: WireType
}

/** A message's fields by name: their number on the wire, and what they hold. */
export class MessageType {
  readonly fields: readonly Field[]
  readonly byNumber: ReadonlyMap<number, Field>

  constructor(fields: Readonly<Record<string, readonly [number, Kind]>>) {
    this.fields = Object.entries(fields).map(([name, [number, kind]]) => ({
      name,
      kind,
      number,
      wireType:
        typeof kind === 'object' || kind === 'string' || kind === 'bytes'
          ? WireType.LengthDelimited
          : WireType.Varint,
    }))
    this.byNumber = new Map(this.fields.map((field) => [field.number, field]))
  }
}

/** On the wire a map is a repeated message of key and value. */
export function mapOf(value: ItemKind): { readonly entries: MessageType; readonly absent: FieldItem } {
  const entries = new MessageType({ key: [1, 'string'], value: [2, value] })
  return { entries, absent: value === 'string' ? '' : {} }
}

/** Splits what is one length-delimited message after the other. Throws where a length does not fit; what came before was given. */
export function* delimited(payload: Uint8Array): Generator<Uint8Array> {
  const reader = new BinaryReader(payload)
  while (reader.pos < reader.len) yield reader.bytes()
}

/**
 * Fields that came, by name; `bytes` are views of `message`. Unknown fields are skipped, of a field that came twice the last counts.
 * Throws on anything that is not this message: cut off, not UTF-8, a known field in another form.
 */
export function readMessage(type: MessageType, message: Uint8Array): Fields {
  const reader = new BinaryReader(message)
  const fields: Record<string, FieldValue> = {}
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag()
    const field = type.byNumber.get(number)
    if (!field) {
      reader.skip(wireType, number)
      continue
    }
    if (wireType !== field.wireType) throw new Error(`${field.name} has wire type ${wireType}`)
    fields[field.name] = readValue(reader, field.kind, fields[field.name])
  }
  return fields
}

function readValue(reader: BinaryReader, kind: Kind, before: FieldValue): FieldValue {
  if (typeof kind === 'string') return readScalar(reader, kind)
  if (kind instanceof MessageType) return readMessage(kind, reader.bytes())
  if ('repeated' in kind) {
    const items = Array.isArray(before) ? before : []
    items.push(kind.repeated === 'string' ? reader.string(true) : readMessage(kind.repeated, reader.bytes()))
    return items
  }
  const { key = '', value = kind.absent } = readMessage(kind.entries, reader.bytes())
  const entries = before instanceof Map ? before : new Map<string, FieldItem>()
  if (typeof key === 'string' && (typeof value === 'string' || isMessage(value))) entries.set(key, value)
  return entries
}

/** Numbers above 2^53 are rounded, as JSON.parse rounds them. */
function readScalar(reader: BinaryReader, kind: Scalar): string | number | boolean | Uint8Array {
  switch (kind) {
    case 'string':
      return reader.string(true)
    case 'bytes':
      return reader.bytes()
    case 'bool':
      return reader.bool()
    case 'int32':
      return reader.int32()
    case 'uint32':
      return reader.uint32()
    case 'int64':
      return Number(reader.int64())
    case 'uint64':
      return Number(reader.uint64())
  }
}

/** One message behind its length. Zero values are left out, as proto3 has it, and so are fields that the type does not know. */
export function writeDelimited(type: MessageType, fields: Fields): Uint8Array {
  const writer = new BinaryWriter().fork()
  writeFields(writer, type, fields)
  return writer.join().finish()
}

function writeFields(writer: BinaryWriter, type: MessageType, fields: Fields): void {
  for (const field of type.fields) {
    const value = fields[field.name]
    if (value) writeField(writer, field, value)
  }
}

function writeField(writer: BinaryWriter, field: Field, value: NonNullable<FieldValue>): void {
  const { kind, number, wireType } = field
  if (value instanceof Map) {
    for (const [key, item] of value) writeField(writer, field, { key, value: item })
  } else if (Array.isArray(value)) {
    for (const item of value) writeField(writer, field, item)
  } else {
    writer.tag(number, wireType)
    if (isMessage(value)) writeNested(writer, kind, value)
    else writeScalar(writer, value)
  }
}

function writeNested(writer: BinaryWriter, kind: Kind, value: Fields): void {
  const type =
    typeof kind === 'string' || kind instanceof MessageType
      ? kind
      : 'repeated' in kind
        ? kind.repeated
        : kind.entries
  if (typeof type === 'string') throw new Error(`a message was given for a ${type}`)
  writer.fork()
  writeFields(writer, type, value)
  writer.join()
}

/** Every number here is a varint; for those that are not negative all kinds of it are written alike. */
function writeScalar(writer: BinaryWriter, value: string | number | boolean | Uint8Array): void {
  if (typeof value === 'string') writer.string(value)
  else if (typeof value === 'boolean') writer.bool(value)
  else if (typeof value !== 'number') writer.bytes(value)
  else if (value >= 0 && value < 2 ** 32) writer.uint32(value)
  else writer.int64(value)
}

function isMessage(value: NonNullable<FieldValue>): value is Fields {
  return (
    typeof value === 'object' &&
    !(value instanceof Uint8Array || value instanceof Map || Array.isArray(value))
  )
}
