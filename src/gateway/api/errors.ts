// The errors of the server API: Centrifuge's number, and a message that starts with Parley's code.
import { type CommandError, errorCodes } from '../../errors.js'
import { centrifugeErrorNumbers } from '../../protocol/codes.js'
import type { MessageFields } from '../../protocol/message-fields.js'

/**
 * The HTTP statuses that Centrifugo defines for its error numbers. For other numbers, the status of Parley's
 * code applies.
 */
const transportStatuses: Readonly<Record<number, number>> = {
  100: 500,
  102: 404,
  104: 404,
  107: 400,
  108: 400,
  112: 416,
}

/** Returns the HTTP status of an error, for requests with `X-Centrifugo-Error-Mode: transport`. */
export function transportStatus({ code }: CommandError): number {
  return transportStatuses[centrifugeErrorNumbers[code]] ?? errorCodes[code].http
}

export function apiErrorFields({ code, message }: CommandError): MessageFields {
  return { code: centrifugeErrorNumbers[code], message: `${code}: ${message}` }
}
