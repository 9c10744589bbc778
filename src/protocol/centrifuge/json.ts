// The codec of Centrifuge's protocol v2 in JSON, for Centrifuge's official clients.
import { isUtf8 } from 'node:buffer'
import { isRecord, parseJson } from '../../json.js'
import { centrifugeCodec } from './codec.js'
import { decodeWireCommand, violation } from './decode.js'
import type { Codec, DecodedItem } from '../commands.js'
import { writeJson } from '../json-writer.js'
import { rawValue } from '../raw-json.js'

export const centrifugeJson: Codec = centrifugeCodec({
  name: 'centrifuge-json',
  binary: false,
  decode,
  write: writeJson,
  // A delta is not JSON, so on a subscription with deltas all data is sent as a string.
  writeDelta: (data) => Buffer.from(data).toString(),
  ping: Buffer.from('{}'),
})

/** Decodes one or more objects, one per line. Never throws; decoding stops at a violation. */
function decode(payload: Buffer): DecodedItem[] {
  if (!isUtf8(payload)) return [violation]
  const frame = payload.toString()
  const received: DecodedItem[] = []
  for (const line of (frame.endsWith('\n') ? frame.slice(0, -1) : frame).split('\n')) {
    const item = decodeLine(line)
    received.push(item)
    if (item.kind === 'violation') break
  }
  return received
}

function decodeLine(line: string): DecodedItem {
  const message = parseJson(line)
  return isRecord(message) ? decodeWireCommand(message, () => rawValue(line, ['publish', 'data'])) : violation
}
