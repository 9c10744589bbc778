// How the server API says no: Centrifuge's number, and in the message our own code and a sentence.
import { type CommandError, errorCodes } from '../../errors.js'
import { centrifugeErrorNumbers } from '../../protocol/codes.js'
import type { MessageFields } from '../../protocol/message-fields.js'

/** Where the protocol has a status for a number, it counts; else that of our own code. */
const transportStatuses: Readonly<Record<number, number>> = {
  100: 500,
  102: 404,
  104: 404,
  107: 400,
  108: 400,
  112: 416,
}

/** For callers that want HTTP statuses (`X-Centrifugo-Error-Mode: transport`). */
export function transportStatus({ code }: CommandError): number {
  return transportStatuses[centrifugeErrorNumbers[code]] ?? errorCodes[code].http
}

export function errorFields({ code, message }: CommandError): MessageFields {
  return { code: centrifugeErrorNumbers[code], message: `${code}: ${message}` }
}
