// The common form of a message: before it is encoded as JSON or protobuf, and after protobuf is decoded.
// Fields have the names of the protocol.

export interface MessageFields {
  readonly [name: string]: FieldValue
}

/** An item of a list or of a map. */
export type FieldItem = MessageFields | string

/**
 * A byte array is JSON text that is written unchanged, a Map has names that come from clients, and undefined
 * is left out.
 */
export type FieldValue =
  | string
  | number
  | boolean
  | Uint8Array
  | MessageFields
  | FieldItem[]
  | Map<string, FieldItem>
  | undefined
