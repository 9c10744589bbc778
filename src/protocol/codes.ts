// Numbers on the wire: Centrifuge's error numbers, and one table of close codes for all doors.
import type { ErrorCode } from '../errors.js'

/** Centrifuge's number for each of our codes; SDKs decide by these (109: get a new token; temporary: try again). */
export const centrifugeErrorNumbers: Readonly<Record<ErrorCode, number>> = {
  INVALID_JSON: 107,
  BAD_REQUEST: 107,
  UNKNOWN_TYPE: 104,
  INVALID_CHANNEL: 107,
  MESSAGE_TOO_LARGE: 107,
  UNAUTHORIZED: 101,
  // Connections are closed with 3500; only subscription tokens are answered.
  TOKEN_INVALID: 103,
  TOKEN_EXPIRED: 109,
  ORIGIN_NOT_ALLOWED: 103,
  PERMISSION_DENIED: 103,
  TENANT_SUSPENDED: 103,
  NOT_FOUND: 102,
  METHOD_NOT_ALLOWED: 104,
  REQUEST_TIMEOUT: 107,
  HEADERS_TOO_LARGE: 107,
  UPGRADE_REQUIRED: 107,
  ALREADY_SUBSCRIBED: 105,
  NOT_SUBSCRIBED: 103,
  NOT_AVAILABLE: 108,
  DURABILITY_UNAVAILABLE: 108,
  UNRECOVERABLE_POSITION: 112,
  IDEMPOTENCY_MISMATCH: 409,
  CONNECTION_LIMIT: 106,
  SUBSCRIPTION_LIMIT: 106,
  CHANNEL_LIMIT: 106,
  QUOTA_EXCEEDED: 111,
  TOO_MANY_REQUESTS: 111,
  NOT_REPLICATED: 503,
  BROKER_UNAVAILABLE: 100,
  OVERLOADED: 100,
  DRAINING: 100,
  INTERNAL: 100,
}

/** Why the server ends a session. 3000–3499 and 4000–4499: the client reconnects; 3500–3999 and 4500–4999: it does not. */
export interface CloseCode {
  readonly code: number
  /** At most 123 bytes, plain text. */
  readonly reason: string
}

const close = (code: number, reason: string): CloseCode => ({ code, reason })

export const closeCodes = {
  shutdown: close(3001, 'shutdown'),
  internal: close(3004, 'internal server error'),
  expired: close(3005, 'connection expired'),
  subscriptionExpired: close(3006, 'subscription expired'),
  slow: close(3008, 'slow'),
  insufficientState: close(3010, 'insufficient state'),
  forceReconnect: close(3011, 'force reconnect'),
  noPong: close(3012, 'no pong'),
  tooManyRequests: close(3013, 'too many requests'),
  invalidToken: close(3500, 'invalid token'),
  badRequest: close(3501, 'bad request'),
  stale: close(3502, 'stale'),
  forceDisconnect: close(3503, 'force disconnect'),
  connectionLimit: close(3504, 'connection limit'),
  channelLimit: close(3505, 'channel limit'),
  permissionDenied: close(3507, 'permission denied'),
  notAvailable: close(3508, 'not available'),
  tooManyErrors: close(3509, 'too many errors'),
  /** The chat door's own: its clients know this number from the contract (reference: docs/chat-protocol.md). */
  chatTokenExpired: close(4001, 'token expired'),
} as const satisfies Record<string, CloseCode>

const ownCloseNumbers: ReadonlySet<number> = new Set(Object.values(closeCodes).map(({ code }) => code))

/** The number, as a metric's label. Clients may close with any of two thousand from 3000 on: those are one, or each would be a series for ever. */
export function closeCodeLabel(code: number): string {
  return code < 3000 || ownCloseNumbers.has(code) ? String(code) : 'other'
}

/** Why the server ends one subscription. Below 2500 it is over; from 2500 on the client subscribes again. */
export interface UnsubscribeCode {
  readonly code: number
  readonly reason: string
}

export const unsubscribeCodes = {
  server: { code: 2000, reason: 'server unsubscribe' },
  permissionDenied: { code: 2103, reason: 'permission denied' },
  insufficientState: { code: 2500, reason: 'insufficient state' },
  expired: { code: 2501, reason: 'subscription expired' },
} as const satisfies Record<string, UnsubscribeCode>

/** The same close with words of its own behind it, cut to what a close frame holds. */
export function withReason(base: CloseCode, detail: string): CloseCode {
  let reason = `${base.reason}: ${detail}`
  while (Buffer.byteLength(reason) > 123) reason = reason.slice(0, -1)
  return { code: base.code, reason }
}
