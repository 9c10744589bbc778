// The door for Centrifuge's official clients: protocol v2 as protobuf. Messages behind their lengths, one or more in a binary frame.
import { isUtf8 } from 'node:buffer'
import { CommandError } from '../../errors.js'
import { parseJson } from '../../json.js'
import { centrifugeCodec } from './codec.js'
import { decodeEnvelope, violation } from './decode.js'
import { Command, Reply } from './schema.js'
import type { Codec, Received } from '../commands.js'
import { delimited, readMessage, writeDelimited } from './message-table.js'
import { rawValue } from '../raw-json.js'

export const centrifugeProtobuf: Codec = centrifugeCodec({
  name: 'centrifuge-protobuf',
  binary: true,
  decode,
  write: (fields) => writeDelimited(Reply, fields),
  writeDelta: (data) => data,
  // The empty reply: a length of 0.
  ping: Buffer.from([0]),
})

/** Never throws; nothing is read after a violation. */
function decode(payload: Buffer): Received[] {
  const received: Received[] = []
  try {
    for (const message of delimited(payload)) {
      const item = decodeCommand(message)
      received.push(item)
      if (item.kind === 'violation') return received
    }
  } catch {
    // The reader throws on whatever is no protobuf, or not of this schema.
    received.push(violation)
  }
  return received.length === 0 ? [violation] : received
}

function decodeCommand(message: Uint8Array): Received {
  return decodeEnvelope(readMessage(Command, message), jsonOf)
}

/** What lies on a channel is JSON, whoever published it: a subscriber may be unable to read anything else. */
function jsonOf(data: unknown): string | CommandError | undefined {
  if (!(data instanceof Uint8Array) || data.byteLength === 0) return undefined
  const text = isUtf8(data) ? Buffer.from(data).toString() : ''
  if (parseJson(text) !== undefined) return rawValue(text, [])
  return new CommandError('INVALID_JSON', 'data must be one JSON value in UTF-8, in protobuf too')
}
