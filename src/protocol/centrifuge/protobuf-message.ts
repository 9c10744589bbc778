// Reads and writes protobuf messages that are described by tables. This is the only file that imports
// @bufbuild/protobuf, and it uses the wire format only (docs/decisions/0008-protobuf-by-table.md).
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { FieldItem, MessageFields, FieldValue } from '../message-fields.js'

type Scalar = 'string' | 'bytes' | 'bool' | 'int32' | 'uint32' | 'int64' | 'uint64'

type ItemKind = MessageType | 'string'

/**
 * Type of a field: a scalar, a message, a list, or a map. `absent` is the value of a map entry that has none
 * on the wire.
 */
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

/** The type of a message: for each field its name, its number on the wire and its kind. */
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

/**
 * Returns the kind of a map from strings to `value`. On the wire a map is a repeated message of key and
 * value.
 */
export function mapOf(value: ItemKind): { readonly entries: MessageType; readonly absent: FieldItem } {
  const entries = new MessageType({ key: [1, 'string'], value: [2, value] })
  return { entries, absent: value === 'string' ? '' : {} }
}

/**
 * Yields the messages of a sequence of length-delimited messages. Throws at a length that does not fit, after
 * yielding what precedes it.
 */
export function* splitDelimited(payload: Uint8Array): Generator<Uint8Array> {
  const reader = new BinaryReader(payload)
  while (reader.pos < reader.len) yield reader.bytes()
}

/**
 * Returns the fields of a message by name. Values of `bytes` fields are views of `message`. Unknown fields
 * are skipped, and the last of duplicate fields counts. Throws when the bytes are not a message of this type:
 * truncated, not UTF-8, or a known field with another wire type.
 */
export function readMessage(type: MessageType, message: Uint8Array): MessageFields {
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

/** Numbers above 2^53 are rounded, as by JSON.parse. */
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

/**
 * Encodes one message with its length in front. Zero values are left out, as in proto3, and so are fields
 * that the type does not have.
 */
export function writeDelimited(type: MessageType, fields: MessageFields): Uint8Array {
  const writer = new BinaryWriter().fork()
  writeFields(writer, type, fields)
  return writer.join().finish()
}

function writeFields(writer: BinaryWriter, type: MessageType, fields: MessageFields): void {
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

function writeNested(writer: BinaryWriter, kind: Kind, value: MessageFields): void {
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

/** Every number is a varint. All varint types encode non-negative numbers in the same way. */
function writeScalar(writer: BinaryWriter, value: string | number | boolean | Uint8Array): void {
  if (typeof value === 'string') writer.string(value)
  else if (typeof value === 'boolean') writer.bool(value)
  else if (typeof value !== 'number') writer.bytes(value)
  else if (value >= 0 && value < 2 ** 32) writer.uint32(value)
  else writer.int64(value)
}

function isMessage(value: NonNullable<FieldValue>): value is MessageFields {
  return (
    typeof value === 'object' &&
    !(value instanceof Uint8Array || value instanceof Map || Array.isArray(value))
  )
}
