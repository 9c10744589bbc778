// The closed list of error codes, and the error types that carry them.
//
// This file is a leaf: a file directly in src/ that imports no other file of Parley, so that every room may
// import it. The leaves are errors, metrics, metrics-tenants, metrics-controller, log, time, deadline and
// json.

/** How one error code is reported to clients. */
export interface ErrorDefinition {
  /** HTTP status of the response when a request or a WebSocket handshake is refused with this code. */
  readonly http: number
  /** True when the same command can succeed later without a change by the client. */
  readonly temporary: boolean
  /** One or two sentences for docs/reference/codes.md: what happened, why, and what the client can do. */
  readonly meaning: string
}

/**
 * Every code that a client can receive in an `error` reply or a refused handshake. The codes are API: adding,
 * renaming or removing one is an API change and shows in docs/reference/codes.md.
 */
export const errorCodes = {
  INVALID_JSON: {
    http: 400,
    temporary: false,
    meaning:
      'The frame is not one JSON object, or the data of a publish is not valid JSON. Send valid JSON in UTF-8.',
  },
  BAD_REQUEST: {
    http: 400,
    temporary: false,
    meaning: 'A field is missing, too long or of the wrong type. The message names the field.',
  },
  UNKNOWN_TYPE: {
    http: 400,
    temporary: false,
    meaning: 'The command type does not exist. The message lists the known types.',
  },
  INVALID_CHANNEL: {
    http: 400,
    temporary: false,
    meaning: 'The channel name is too long or contains characters that channel names may not contain.',
  },
  MESSAGE_TOO_LARGE: {
    http: 413,
    temporary: false,
    meaning: 'The message is larger than the tenant allows. Send a smaller message.',
  },
  UNAUTHORIZED: {
    http: 401,
    temporary: false,
    meaning: 'The request needs a token or an API key, and carries none that is accepted.',
  },
  TOKEN_INVALID: {
    http: 401,
    temporary: false,
    meaning:
      'The token is malformed, is not signed by a key of this tenant, or is issued for another audience. Get a new token.',
  },
  TOKEN_EXPIRED: {
    http: 401,
    temporary: false,
    meaning: 'The token was valid and has expired. Get a new token and connect again.',
  },
  TOKEN_REVOKED: {
    http: 401,
    temporary: false,
    meaning:
      'The token was revoked: by its id, by its time of issue, or because its user was revoked. Sign in again to get a new token. While a user is revoked, new tokens of the user are refused too.',
  },
  KEYS_UNAVAILABLE: {
    http: 503,
    temporary: true,
    meaning:
      'The keys that verify the token are published at a URL and cannot be fetched at the moment. Try again after the given time.',
  },
  ORIGIN_NOT_ALLOWED: {
    http: 403,
    temporary: false,
    meaning: 'The origin of the web page is not in the tenant’s list of allowed origins.',
  },
  PERMISSION_DENIED: {
    http: 403,
    temporary: false,
    meaning: 'No channel rule grants this operation to the user, or a rule denies it.',
  },
  TENANT_SUSPENDED: {
    http: 403,
    temporary: false,
    meaning:
      'The tenant is suspended. Its data is kept, and no client can connect until the suspension ends.',
  },
  NOT_FOUND: { http: 404, temporary: false, meaning: 'No tenant and no page exists at this path.' },
  REQUEST_TIMEOUT: {
    http: 408,
    temporary: true,
    meaning: 'The complete HTTP request did not arrive in time. Send it again.',
  },
  HEADERS_TOO_LARGE: {
    http: 431,
    temporary: false,
    meaning: 'The URL and the headers of the HTTP request are too large or too many.',
  },
  METHOD_NOT_ALLOWED: {
    http: 405,
    temporary: false,
    meaning: 'The path exists, but not for this HTTP method. The `Allow` header names the right one.',
  },
  UPGRADE_REQUIRED: {
    http: 426,
    temporary: false,
    meaning:
      'The request would be accepted as a WebSocket handshake. Connect to this path with a WebSocket client.',
  },
  ALREADY_SUBSCRIBED: {
    http: 409,
    temporary: false,
    meaning: 'This connection is already subscribed to the channel.',
  },
  NOT_SUBSCRIBED: {
    http: 409,
    temporary: false,
    meaning: 'This connection is not subscribed to the channel.',
  },
  NOT_AVAILABLE: {
    http: 501,
    temporary: false,
    meaning: 'The channel or this server does not offer the requested feature.',
  },
  DURABILITY_UNAVAILABLE: {
    http: 501,
    temporary: false,
    meaning: 'The channel requires a durability that this server’s configuration cannot provide.',
  },
  UNRECOVERABLE_POSITION: {
    http: 416,
    temporary: false,
    meaning:
      'The stream cannot be continued from the given position: it has a new epoch, or the history no longer reaches back that far. Load the current state.',
  },
  IDEMPOTENCY_MISMATCH: {
    http: 409,
    temporary: false,
    meaning:
      'The idempotency key was already used with different data or tags. Use a new key for a new message.',
  },
  CONNECTION_LIMIT: {
    http: 429,
    temporary: true,
    meaning: 'The tenant or the user already has as many connections as the quota allows.',
  },
  SUBSCRIPTION_LIMIT: {
    http: 429,
    temporary: false,
    meaning: 'The connection or the channel already has as many subscriptions as the quota allows.',
  },
  CHANNEL_LIMIT: {
    http: 429,
    temporary: true,
    meaning: 'The tenant already has as many channels in use as the quota allows.',
  },
  STORAGE_LIMIT: {
    http: 429,
    temporary: true,
    meaning:
      'The stored messages of the tenant use as many bytes as the quota allows. Older messages must expire first.',
  },
  ADDRESS_LIMIT: {
    http: 429,
    temporary: true,
    meaning:
      'This network address opens more connections, or sends more requests, than one address may. Try again after the given time.',
  },
  QUOTA_EXCEEDED: {
    http: 429,
    temporary: true,
    meaning: 'A rate of the tenant’s quota is used up. Try again after the given time.',
  },
  TOO_MANY_REQUESTS: {
    http: 429,
    temporary: true,
    meaning: 'This connection sends commands faster than its limit. Slow down.',
  },
  NOT_REPLICATED: {
    http: 503,
    temporary: true,
    meaning:
      'Too few Redis replicas confirmed the write in time, so it is unknown whether the message is stored. Retry with the same idempotency key.',
  },
  BROKER_UNAVAILABLE: {
    http: 503,
    temporary: true,
    meaning: 'Redis does not accept writes or does not answer. Nothing was stored. Try again later.',
  },
  OVERLOADED: {
    http: 503,
    temporary: true,
    meaning: 'The gateway is full, or too many clients connect at once. Try again after the given time.',
  },
  DRAINING: {
    http: 503,
    temporary: true,
    meaning: 'The gateway is shutting down. Connect again to reach another gateway.',
  },
  INTERNAL: {
    http: 500,
    temporary: true,
    meaning: 'The server failed because of a bug. The server log has the details. Try again later.',
  },
} as const satisfies Record<string, ErrorDefinition>

export type ErrorCode = keyof typeof errorCodes

/**
 * Refuses one command or one handshake; the connection stays open. The message goes to the client: it says
 * what happened, why and what to do, and it contains no secret.
 */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly code: ErrorCode
  /**
   * Milliseconds after which the client may try again. Undefined when the code is not temporary or the time
   * is unknown.
   */
  readonly retryAfterMs: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    // A flood of refused commands would spend much of its time on stacks that nobody reads.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    this.retryAfterMs = options.retryAfterMs
  }

  /** True when the same command can succeed later without a change by the client. */
  get temporary(): boolean {
    return errorCodes[this.code].temporary
  }
}

/**
 * Creates the error that a client receives after a bug. It contains no details: those are in the log only.
 */
export function internalError(options: { retryAfterMs?: number } = {}): CommandError {
  return new CommandError(
    'INTERNAL',
    'The server failed to handle this request; the details are in its log. Try again',
    options,
  )
}

/**
 * Reports a configuration with which the process cannot start. The process prints the problems, one sentence
 * each and without a stack, and exits with code 78 (EX_CONFIG).
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

/**
 * Marks the `default` branch of an exhaustive switch: when the union gets a new member, the call does not
 * compile. Always throws.
 */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}
