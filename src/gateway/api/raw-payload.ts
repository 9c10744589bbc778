// Extracts JSON payloads from the text of a request, byte for byte as the backend sent them.
import { isUtf8 } from 'node:buffer'
import { CommandError } from '../../errors.js'
import { parseJson } from '../../json.js'
import { nestingDepth, payloadDepthMax, rawValue } from '../../protocol/raw-json.js'

/**
 * Returns the text of `field`, or the decoded `base64` instead. Undefined when both are absent or null.
 * Throws BAD_REQUEST.
 */
export function readRawPayload(text: string, field: string, base64?: string | null): string | undefined {
  const json = base64 ? decoded(base64, field) : rawValue(text, [field])
  if (json === undefined || json === 'null') return undefined
  if (nestingDepth(json) > payloadDepthMax)
    throw new CommandError('BAD_REQUEST', `${field} is nested more than ${payloadDepthMax} levels deep`)
  return json
}

/**
 * Payloads must be JSON at every endpoint: clients of the chat protocol and JSON clients cannot read anything
 * else.
 */
function decoded(base64: string, field: string): string {
  const bytes = Buffer.from(base64, 'base64')
  const text = bytes.toString()
  if (!isUtf8(bytes) || parseJson(text) === undefined)
    throw new CommandError('BAD_REQUEST', `b64${field} is not the base64 of JSON text in UTF-8`)
  return rawValue(text, []) ?? ''
}
