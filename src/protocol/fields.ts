// A message in its protocol's own words, before it is written as JSON or protobuf, and after protobuf is read.

export interface Fields {
  readonly [name: string]: FieldValue
}

/** Byte arrays are JSON text that passes as it is; a Map has names from outside; undefined is left out. */
export type FieldValue =
  | string
  | number
  | boolean
  | Uint8Array
  | Fields
  | Fields[]
  | Map<string, Fields>
  | undefined
