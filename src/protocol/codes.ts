// Numbers on the wire: Centrifuge's error numbers, and the close and unsubscribe codes that all endpoints
// share.
import type { ErrorCode } from '../errors.js'

/**
 * Centrifuge's error number for each error code. SDKs decide by the number: after 109 they get a new token,
 * and after a temporary error they try again.
 */
export const centrifugeErrorNumbers: Readonly<Record<ErrorCode, number>> = {
  INVALID_JSON: 107,
  BAD_REQUEST: 107,
  UNKNOWN_TYPE: 104,
  INVALID_CHANNEL: 107,
  MESSAGE_TOO_LARGE: 107,
  UNAUTHORIZED: 101,
  // For subscription tokens only: an invalid connection token closes the connection with 3500.
  TOKEN_INVALID: 103,
  TOKEN_EXPIRED: 109,
  // The SDK gets a new token. The token of a revoked user closes the connection with 3500 instead.
  TOKEN_REVOKED: 109,
  KEYS_UNAVAILABLE: 100,
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
  STORAGE_LIMIT: 111,
  ADDRESS_LIMIT: 111,
  QUOTA_EXCEEDED: 111,
  TOO_MANY_REQUESTS: 111,
  NOT_REPLICATED: 503,
  BROKER_UNAVAILABLE: 100,
  OVERLOADED: 100,
  DRAINING: 100,
  INTERNAL: 100,
}

/**
 * The code and reason of a WebSocket close frame that the server sends. After 3000–3499 and 4000–4499 the
 * client reconnects; after 3500–3999 and 4500–4999 it does not.
 */
export interface CloseCode {
  readonly code: number
  /** Plain text, at most 123 bytes: a close frame holds no more. */
  readonly reason: string
}

const close = (code: number, reason: string): CloseCode => ({ code, reason })

/** Every close code of the server. `closeCodeMeanings` describes them. */
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
  chatTokenExpired: close(4001, 'token expired'),
} as const satisfies Record<string, CloseCode>

/** What each close code tells the client, for docs/reference/codes.md. */
export const closeCodeMeanings: Readonly<Record<keyof typeof closeCodes, string>> = {
  shutdown:
    'The gateway is shutting down, or another gateway has more room. The client connects to another gateway.',
  internal: 'The server failed because of a bug; its log has the details.',
  expired:
    'The token expired and was not refreshed, or it was revoked. The client gets a new token and connects again.',
  subscriptionExpired:
    'A subscription token expired, or its refresh was refused. The client gets a new one after it reconnects.',
  slow: 'The client reads too slowly and its outbox is full. It reconnects and recovers what it missed.',
  insufficientState:
    'A server-side subscription lost publications, or its set of channels changed. The client reconnects and recovers.',
  forceReconnect: 'The tenant’s backend asked the client to reconnect.',
  noPong: 'The client did not answer pings; the connection is considered dead.',
  tooManyRequests: 'The client kept sending commands above its rate limit.',
  invalidToken:
    'The token is malformed, has a wrong signature, or belongs to another user or tenant; or the user was revoked.',
  badRequest: 'A frame breaks the protocol.',
  stale: 'The client opened the connection but sent no connect command in time.',
  forceDisconnect: 'The tenant’s backend disconnected the user, or the tenant was removed.',
  connectionLimit: 'The tenant or the user has as many connections as the quota allows.',
  channelLimit: 'The token subscribes the connection to more channels than the quota allows.',
  permissionDenied: 'The tenant is suspended, or it does not admit this client any more.',
  notAvailable: 'The client used a feature of the protocol that this server does not offer.',
  tooManyErrors: 'The client kept sending commands that were refused.',
  chatTokenExpired:
    'As 3005, on the chat endpoint: the token expired, or it or its user was revoked. Connect again with a new one.',
}

const parleyCloseNumbers: ReadonlySet<number> = new Set(Object.values(closeCodes).map(({ code }) => code))

/**
 * Returns the value of the metric label `code`. Clients may close with any of 2,000 numbers from 3000 on;
 * numbers that Parley does not define become `other`, because each would otherwise add a series that never
 * expires.
 */
export function closeCodeLabel(code: number): string {
  return code < 3000 || parleyCloseNumbers.has(code) ? String(code) : 'other'
}

/**
 * Tells the client why the server ended one subscription. Below 2500 the subscription is over; from 2500 on
 * the client subscribes again.
 */
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

/** What each unsubscribe code tells the client, for docs/reference/codes.md. */
export const unsubscribeCodeMeanings: Readonly<Record<keyof typeof unsubscribeCodes, string>> = {
  server: 'The tenant’s backend ended the subscription, or set an end time that has passed.',
  permissionDenied: 'The user no longer has the right to subscribe to the channel.',
  insufficientState: 'The server lost publications of the channel. The client subscribes again and recovers.',
  expired: 'The subscription token expired. The client gets a new one and subscribes again.',
}

/** Returns `base` with `detail` appended to its reason, cut to the 123 bytes that a close frame holds. */
export function withDetail(base: CloseCode, detail: string): CloseCode {
  let reason = `${base.reason}: ${detail}`
  while (Buffer.byteLength(reason) > 123) reason = reason.slice(0, -1)
  return { code: base.code, reason }
}
