// JSON that a backend hands over for others to see: the very text that came.
import { isUtf8 } from 'node:buffer'
import { CommandError } from '../../errors.js'
import { parseJson } from '../../json.js'
import { nestingDepth, payloadDepthMax, rawValue } from '../../protocol/raw-json.js'

/** The text of `field`, or what `base64` holds instead. Undefined: null, or neither came. Throws BAD_REQUEST. */
export function readRawPayload(text: string, field: string, base64?: string | null): string | undefined {
  const json = base64 ? decoded(base64, field) : rawValue(text, [field])
  if (json === undefined || json === 'null') return undefined
  if (nestingDepth(json) > payloadDepthMax)
    throw new CommandError('BAD_REQUEST', `${field} is nested more than ${payloadDepthMax} levels deep`)
  return json
}

/** Whatever the door, what is shown is JSON: the plain chat protocol and JSON clients could not read anything else. */
function decoded(base64: string, field: string): string {
  const bytes = Buffer.from(base64, 'base64')
  const text = bytes.toString()
  if (!isUtf8(bytes) || parseJson(text) === undefined)
    throw new CommandError('BAD_REQUEST', `b64${field} is not the base64 of JSON text in UTF-8`)
  return rawValue(text, []) ?? ''
}
