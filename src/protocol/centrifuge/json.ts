// The door for Centrifuge's official clients: protocol v2 as JSON.
import { isUtf8 } from 'node:buffer'
import { isRecord, parseJson } from '../../json.js'
import { centrifugeCodec } from './codec.js'
import { decodeEnvelope, violation } from './decode.js'
import type { Codec, Received } from '../commands.js'
import { writeJson } from '../fields-json.js'
import { rawValue } from '../raw-json.js'

export const centrifugeJson: Codec = centrifugeCodec({
  name: 'centrifuge-json',
  binary: false,
  decode,
  write: writeJson,
  // A delta is no JSON, so that on such a subscription all data is a string of text.
  writeDelta: (data) => Buffer.from(data).toString(),
  ping: Buffer.from('{}'),
})

/** One or more objects, one to a line. Never throws; nothing is read after a violation. */
function decode(payload: Buffer): Received[] {
  if (!isUtf8(payload)) return [violation]
  const frame = payload.toString()
  const received: Received[] = []
  for (const line of (frame.endsWith('\n') ? frame.slice(0, -1) : frame).split('\n')) {
    const item = decodeLine(line)
    received.push(item)
    if (item.kind === 'violation') break
  }
  return received
}

function decodeLine(line: string): Received {
  const envelope = parseJson(line)
  return isRecord(envelope) ? decodeEnvelope(envelope, () => rawValue(line, ['publish', 'data'])) : violation
}
