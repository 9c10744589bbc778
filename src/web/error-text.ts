// Texts for errors, lost connections and numbers.
import { isJsonObject, textOrEmpty } from './json.js'

/** The error of a command, parsed from what the SDK rejects with. */
export interface CommandRefusal {
  /** Codes below 100 are the SDK's, codes from 100 on are the server's. */
  readonly code: number
  /** The server's message, without its error code. */
  readonly message: string
  /** True when the same command can succeed later. */
  readonly temporary: boolean
  /** How long to wait before another attempt. Undefined when the server does not say. */
  readonly retryAfterMs: number | undefined
}

export function parseRefusal(error: unknown): CommandRefusal {
  const record = isJsonObject(error) ? error : {}
  const code = typeof record['code'] === 'number' ? record['code'] : 0
  const message =
    textOrEmpty(record['message']) || (error instanceof Error ? error.message : 'Something went wrong.')
  const retryAfterMs = typeof record['retry_after_ms'] === 'number' ? record['retry_after_ms'] : undefined
  return { code, message: withoutErrorCode(message), temporary: record['temporary'] === true, retryAfterMs }
}

/** Removes the error code: the Centrifuge endpoint of Parley writes `CODE: message`. */
export function withoutErrorCode(message: string): string {
  return message.replace(/^[A-Z][A-Z_]+: /u, '')
}

/** Returns true when the server refused the command. The SDK's own codes mean that no reply arrived. */
export function isServerRefusal(refusal: CommandRefusal): boolean {
  return refusal.code >= 100
}

/** Returns why the command was refused, and when to try again. */
export function refusalText(refusal: CommandRefusal): string {
  if (refusal.retryAfterMs !== undefined) {
    return `${withFullStop(refusal.message)} Try again in ${Math.max(1, Math.ceil(refusal.retryAfterMs / 1000))} s.`
  }
  return refusal.temporary && !/\b(again|wait|retry)\b/iu.test(refusal.message)
    ? `${withFullStop(refusal.message)} Try again in a moment.`
    : withFullStop(refusal.message)
}

const disconnectTexts: Readonly<Record<number, string>> = {
  0: 'You signed out.',
  1: 'The gateway did not issue a token.',
  3: 'The gateway closed the connection because a message was too large.',
  3500: 'The gateway did not accept your token.',
  3501: 'The gateway could not read a message of this page.',
  3502: 'This page took too long to sign in.',
  3503: 'You were disconnected by an administrator.',
  3504: 'The limit on connections is reached.',
  3507: 'You are not allowed to connect here.',
  3508: 'The gateway does not offer this.',
  3509: 'The gateway closed the connection after too many errors.',
}

/**
 * Returns why the connection ended for good. `reason` is the one of the close frame; the text after its colon
 * is the server's detail.
 */
export function disconnectText(code: number, reason: string): string {
  const detail = /^[^:]+: (.+)$/su.exec(reason)?.[1]
  const known = disconnectTexts[code]
  if (!known)
    return withFullStop(
      capitalised(withoutErrorCode(reason)) || `The gateway closed the connection with code ${code}`,
    )
  return detail ? `${known} ${withFullStop(capitalised(withoutErrorCode(detail)))}` : known
}

const interruptionTexts: Readonly<Record<number, string>> = {
  2: 'The gateway stopped responding.',
  3001: 'The gateway is restarting.',
  3005: 'Your session expired.',
  3008: 'This connection was too slow.',
  3012: 'This page did not respond to the gateway.',
}

/** Returns why the connection is interrupted. The SDK reconnects by itself. */
export function interruptionText(code: number): string {
  return interruptionTexts[code] ?? 'The connection was lost.'
}

export function withFullStop(text: string): string {
  return /[.!?…]$/u.test(text) || text === '' ? text : `${text}.`
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** Returns a number with its noun: `1 message`, `2 messages`. */
export function countText(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
