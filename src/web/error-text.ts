// Numbers and refusals in plain words.
import { isJsonObject, textOf } from './json.js'

/** A refused command, as the SDK rejects with it. */
export interface Refusal {
  /** Below 100 the SDK speaks, from 100 on the server. */
  readonly code: number
  /** The server's sentence. */
  readonly message: string
  /** The same may pass later. */
  readonly temporary: boolean
  /** How much later, where the server says. */
  readonly retryAfterMs: number | undefined
}

export function refusalOf(error: unknown): Refusal {
  const record = isJsonObject(error) ? error : {}
  const code = typeof record['code'] === 'number' ? record['code'] : 0
  const said = textOf(record['message']) || (error instanceof Error ? error.message : 'Something went wrong.')
  const retryAfterMs = typeof record['retry_after_ms'] === 'number' ? record['retry_after_ms'] : undefined
  return { code, message: plain(said), temporary: record['temporary'] === true, retryAfterMs }
}

/** Parley's door for Centrifuge writes `CODE: sentence`; people need the sentence. */
export function plain(message: string): string {
  return message.replace(/^[A-Z][A-Z_]+: /u, '')
}

/** Was the command refused by the server, or do we simply not know? The SDK's own codes mean no answer came. */
export function isAnswer(refusal: Refusal): boolean {
  return refusal.code >= 100
}

/** Why something was not granted, and when to try again. */
export function refusalSentence(refusal: Refusal): string {
  if (refusal.retryAfterMs !== undefined) {
    return `${withFullStop(refusal.message)} Try again in ${Math.max(1, Math.ceil(refusal.retryAfterMs / 1000))} s.`
  }
  return refusal.temporary && !/\b(again|wait|retry)\b/iu.test(refusal.message)
    ? `${withFullStop(refusal.message)} Try again in a moment.`
    : withFullStop(refusal.message)
}

const endings: Readonly<Record<number, string>> = {
  0: 'You signed out.',
  1: 'The gateway gave no token.',
  3: 'A message was larger than the platform takes, so the gateway hung up.',
  3500: 'The gateway did not accept your token.',
  3501: 'The gateway did not understand this page.',
  3502: 'The gateway waited too long for this page.',
  3503: 'You were disconnected by an administrator.',
  3504: 'There are as many connections as the quota allows.',
  3507: 'You may not connect here.',
  3508: 'This is not offered here.',
  3509: 'The gateway hung up after too many mistakes.',
}

/** Why the connection is over for good. `reason` is the close frame's; what stands behind its colon is the server's own detail. */
export function endingSentence(code: number, reason: string): string {
  const detail = /^[^:]+: (.+)$/su.exec(reason)?.[1]
  const known = endings[code]
  if (!known) return withFullStop(capitalised(plain(reason)) || `The gateway hung up (${code})`)
  return detail ? `${known} ${withFullStop(capitalised(plain(detail)))}` : known
}

const interruptions: Readonly<Record<number, string>> = {
  2: 'The gateway fell silent.',
  3001: 'The gateway is restarting.',
  3005: 'Your sign-in ran out.',
  3008: 'This connection was too slow.',
  3012: 'This connection did not answer.',
}

/** Why the connection is away for the moment. */
export function interruptionSentence(code: number): string {
  return interruptions[code] ?? 'The connection broke.'
}

export function withFullStop(sentence: string): string {
  return /[.!?…]$/u.test(sentence) || sentence === '' ? sentence : `${sentence}.`
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** `1 message`, `2 messages`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
