// The closed lists of what can go wrong, and the error types that carry them. Leaf: imports nothing of ours.

/** What a refusal means to its reader. `http` is its status before an upgrade; `temporary` says a later try may pass. */
export interface ErrorFacts {
  readonly http: number
  readonly temporary: boolean
  readonly meaning: string
}

/** Every code a client can meet in an `error` reply or a refused handshake. Adding one is an API change: docs/reference/codes.md. */
export const errorCodes = {
  INVALID_JSON: { http: 400, temporary: false, meaning: 'The frame is not one JSON object.' },
  BAD_REQUEST: { http: 400, temporary: false, meaning: 'A field is missing, too long or of the wrong type.' },
  UNKNOWN_TYPE: { http: 400, temporary: false, meaning: 'No command has that name.' },
  INVALID_CHANNEL: {
    http: 400,
    temporary: false,
    meaning: 'The channel name holds characters that names may not have, or is too long.',
  },
  MESSAGE_TOO_LARGE: {
    http: 413,
    temporary: false,
    meaning: 'The message has more bytes than the tenant allows.',
  },
  UNAUTHORIZED: {
    http: 401,
    temporary: false,
    meaning: 'A token or an API key is needed, and none came that counts.',
  },
  TOKEN_INVALID: {
    http: 401,
    temporary: false,
    meaning: 'The token is malformed, not signed by a key of this tenant, or meant for somebody else.',
  },
  TOKEN_EXPIRED: { http: 401, temporary: false, meaning: 'The token was good once; get a new one.' },
  ORIGIN_NOT_ALLOWED: {
    http: 403,
    temporary: false,
    meaning: 'The page that connects is not on the tenant’s list of origins.',
  },
  PERMISSION_DENIED: {
    http: 403,
    temporary: false,
    meaning: 'No channel rule grants this, or one denies it.',
  },
  TENANT_SUSPENDED: {
    http: 403,
    temporary: false,
    meaning: 'The tenant is suspended: its data is kept, nobody may connect.',
  },
  NOT_FOUND: { http: 404, temporary: false, meaning: 'No tenant or page has this path.' },
  REQUEST_TIMEOUT: { http: 408, temporary: true, meaning: 'The HTTP request did not come whole in time.' },
  HEADERS_TOO_LARGE: {
    http: 431,
    temporary: false,
    meaning: 'The HTTP request’s headers and URL are too many or too long.',
  },
  METHOD_NOT_ALLOWED: { http: 405, temporary: false, meaning: 'The path is right, the HTTP method is not.' },
  UPGRADE_REQUIRED: {
    http: 426,
    temporary: false,
    meaning: 'All is well, but this path speaks WebSocket only.',
  },
  ALREADY_SUBSCRIBED: {
    http: 409,
    temporary: false,
    meaning: 'This connection has that subscription already.',
  },
  NOT_SUBSCRIBED: { http: 409, temporary: false, meaning: 'This connection has no such subscription.' },
  NOT_AVAILABLE: {
    http: 501,
    temporary: false,
    meaning: 'The channel or this server does not offer that feature.',
  },
  DURABILITY_UNAVAILABLE: {
    http: 501,
    temporary: false,
    meaning: 'The channel asks for a durability that this server cannot give.',
  },
  UNRECOVERABLE_POSITION: {
    http: 416,
    temporary: false,
    meaning: 'The position is of another epoch: what lies between cannot be told.',
  },
  IDEMPOTENCY_MISMATCH: {
    http: 409,
    temporary: false,
    meaning: 'The key was used before with another payload, or other tags.',
  },
  CONNECTION_LIMIT: {
    http: 429,
    temporary: true,
    meaning: 'The tenant or the user has as many connections as the quota allows.',
  },
  SUBSCRIPTION_LIMIT: {
    http: 429,
    temporary: false,
    meaning: 'The connection or the channel has as many subscriptions as the quota allows.',
  },
  CHANNEL_LIMIT: {
    http: 429,
    temporary: true,
    meaning: 'The tenant has as many channels as the quota allows.',
  },
  QUOTA_EXCEEDED: { http: 429, temporary: true, meaning: 'A rate of the tenant is used up for the moment.' },
  TOO_MANY_REQUESTS: {
    http: 429,
    temporary: true,
    meaning: 'This connection sends commands faster than it may.',
  },
  NOT_REPLICATED: {
    http: 503,
    temporary: true,
    meaning: 'Too few replicas confirmed in time; whether it was stored is unknown. Retry with the same key.',
  },
  BROKER_UNAVAILABLE: {
    http: 503,
    temporary: true,
    meaning: 'Redis takes no writes or gives no answers at the moment; nothing was stored.',
  },
  OVERLOADED: {
    http: 503,
    temporary: true,
    meaning: 'The gateway is full, or too many clients come at once; try again after the time it names.',
  },
  DRAINING: { http: 503, temporary: true, meaning: 'The gateway is shutting down; another one will answer.' },
  INTERNAL: { http: 500, temporary: true, meaning: 'A fault of the server’s; it is in its log.' },
} as const satisfies Record<string, ErrorFacts>

export type ErrorCode = keyof typeof errorCodes

/** One command (or one handshake) is refused; the connection lives on. The message says what, why and what to do, and holds no secret. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly code: ErrorCode
  /** When to try again, for temporary refusals; milliseconds. */
  readonly retryAfterMs: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.code = code
    this.retryAfterMs = options.retryAfterMs
  }

  get temporary(): boolean {
    return errorCodes[this.code].temporary
  }
}

/** What the other side is told of a bug: that there was one. What it was is in the log alone. */
export function internalError(options: { retryAfterMs?: number } = {}): CommandError {
  return new CommandError('INTERNAL', 'The server failed at this; it is in its log. Try again', options)
}

/** The process cannot start as configured. Ends it with exit code 78 (EX_CONFIG) and these sentences, no stack. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

/** For the `default` of a switch over a union: a new member fails to compile here. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}
