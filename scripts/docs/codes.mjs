// docs/reference/codes.md: every code that a client can meet.
import { errorCodes } from '../../dist/errors.js'
import { centrifugeErrorNumbers, closeCodes, unsubscribeCodes } from '../../dist/protocol/codes.js'
import { generatedNote, table } from './table.mjs'

const yes = (/** @type {boolean} */ value) => (value ? 'yes' : '')

/** SDKs stay away after these. @param {number} code */
const isTerminal = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000)

export function codesPage() {
  const errors = Object.entries(errorCodes).map(([code, facts]) => [
    `\`${code}\``,
    String(centrifugeErrorNumbers[/** @type {keyof typeof errorCodes} */ (code)]),
    String(facts.http),
    yes(facts.temporary),
    facts.meaning,
  ])
  const closes = Object.values(closeCodes).map(({ code, reason }) => [
    String(code),
    reason,
    yes(!isTerminal(code)),
  ])
  const unsubscribes = Object.values(unsubscribeCodes).map(({ code, reason }) => [
    String(code),
    reason,
    yes(code >= 2500),
  ])
  return `${generatedNote}
# Codes

The lists are closed: a client can switch over them. Messages beside a code are for people and may change.

## Errors

A refused command or handshake. The chat door sends the code, the Centrifuge door its number and the code at the beginning of the
message; before an upgrade both are answered with the HTTP status and \`{"code", "message"}\`. Temporary: the same may pass later,
\`retry_after_ms\` or \`Retry-After\` say when.

${table(['code', 'Centrifuge', 'HTTP', 'temporary', 'meaning'], errors)}
## Close codes

Why the server ended a connection. The reason may go on behind a colon. An SDK that may come back does so by itself, with backoff.
1009 is WebSocket's own: a message over 64 KiB.

${table(['code', 'reason', 'the client comes back'], closes)}
## Unsubscribe codes

Why the server ended one subscription of a connection that lives on.

${table(['code', 'reason', 'the client subscribes again'], unsubscribes)}`
}
