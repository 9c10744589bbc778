// Generates docs/reference/codes.md: every code that a client can receive.
import { errorCodes } from '../../dist/errors.js'
import {
  centrifugeErrorNumbers,
  closeCodeMeanings,
  closeCodes,
  unsubscribeCodeMeanings,
  unsubscribeCodes,
} from '../../dist/protocol/codes.js'
import { generatedNote, table } from './table.mjs'

const yes = (/** @type {boolean} */ value) => (value ? 'yes' : '')

/** SDKs do not reconnect after these codes. @param {number} code */
const isTerminal = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000)

export function codesPage() {
  const errors = Object.entries(errorCodes).map(([code, facts]) => [
    `\`${code}\``,
    String(centrifugeErrorNumbers[/** @type {keyof typeof errorCodes} */ (code)]),
    String(facts.http),
    yes(facts.temporary),
    facts.meaning,
  ])
  const closes = Object.entries(closeCodes).map(([name, { code, reason }]) => [
    String(code),
    reason,
    yes(!isTerminal(code)),
    closeCodeMeanings[/** @type {keyof typeof closeCodes} */ (name)],
  ])
  const unsubscribes = Object.entries(unsubscribeCodes).map(([name, { code, reason }]) => [
    String(code),
    reason,
    yes(code >= 2500),
    unsubscribeCodeMeanings[/** @type {keyof typeof unsubscribeCodes} */ (name)],
  ])
  return `${generatedNote}
# Codes

These lists are complete, so a client can switch over the codes. The messages that come with a code are for
people and may change.

## Errors

The server refuses a command or a handshake with one of these codes. The chat endpoint sends the code. The
Centrifuge endpoint sends the number, and the code at the beginning of the message. A refused handshake or
API request has the HTTP status and the body \`{"code", "message"}\`. After a temporary error the same command
can succeed later; \`retry_after_ms\` or \`Retry-After\` says when, if the time is known.

${table(['code', 'Centrifuge', 'HTTP', 'temporary', 'meaning'], errors)}
## Close codes

The server closes a connection with one of these codes. Details may follow the reason after a colon. SDKs
reconnect by themselves, with backoff, where the table says so. Code 1009 is part of WebSocket: a frame is
larger than 64 KiB.

${table(['code', 'reason', 'client reconnects', 'meaning'], closes)}
## Unsubscribe codes

The server ends one subscription with one of these codes; the connection stays open.

${table(['code', 'reason', 'client subscribes again', 'meaning'], unsubscribes)}`
}
