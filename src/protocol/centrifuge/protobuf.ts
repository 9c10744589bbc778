// The codec of Centrifuge's protocol v2 in protobuf, for Centrifuge's official clients. A binary frame
// contains one or more length-delimited messages.
import { isUtf8 } from 'node:buffer'
import { CommandError } from '../../errors.js'
import { parseJson } from '../../json.js'
import { centrifugeCodec } from './codec.js'
import { decodeWireCommand, violation } from './decode.js'
import { WireCommand, WireReply } from './schema.js'
import type { Codec, DecodedItem } from '../commands.js'
import { splitDelimited, readMessage, writeDelimited } from './protobuf-message.js'
import { rawValue } from '../raw-json.js'

export const centrifugeProtobuf: Codec = centrifugeCodec({
  name: 'centrifuge-protobuf',
  binary: true,
  decode,
  write: (fields) => writeDelimited(WireReply, fields),
  writeDelta: (data) => data,
  // The empty reply is a length of 0.
  ping: Buffer.from([0]),
})

/** Decodes the commands of a frame. Never throws; decoding stops at a violation. */
function decode(payload: Buffer): DecodedItem[] {
  const received: DecodedItem[] = []
  try {
    for (const message of splitDelimited(payload)) {
      const item = decodeCommand(message)
      received.push(item)
      if (item.kind === 'violation') return received
    }
  } catch {
    // The reader throws when the bytes are not protobuf or do not match the schema.
    received.push(violation)
  }
  return received.length === 0 ? [violation] : received
}

function decodeCommand(message: Uint8Array): DecodedItem {
  return decodeWireCommand(readMessage(WireCommand, message), jsonOf)
}

/**
 * Returns the data as JSON text. Publications are always JSON, because a subscriber may be unable to read
 * anything else.
 */
function jsonOf(data: unknown): string | CommandError | undefined {
  if (!(data instanceof Uint8Array) || data.byteLength === 0) return undefined
  const text = isUtf8(data) ? Buffer.from(data).toString() : ''
  if (parseJson(text) !== undefined) return rawValue(text, [])
  return new CommandError('INVALID_JSON', 'data must be one JSON value in UTF-8, in protobuf too')
}
