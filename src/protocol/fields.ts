// A message in its protocol's own words, before it is written as JSON or protobuf, and after protobuf is read.

export interface Fields {
  readonly [name: string]: FieldValue
}

/** Of several, or by name. */
export type FieldItem = Fields | string

/** Byte arrays are JSON text that passes as it is; a Map has names from outside; undefined is left out. */
export type FieldValue =
  | string
  | number
  | boolean
  | Uint8Array
  | Fields
  | FieldItem[]
  | Map<string, FieldItem>
  | undefined
