// The ways in which a call to the API server can fail. Handlers branch on `reason`, never on the message.

/** One of `Status.details.causes`: a field, and what is wrong with it. */
export interface ApiErrorCause {
  readonly reason: string
  readonly field: string
  readonly message: string
}

/** The server responded and refused the call. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** The HTTP status. */
  readonly code: number
  /**
   * `Status.reason`: NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Unauthorized, Expired, Gone,
   * TooManyRequests and so on. When the body was no Status, the reason that belongs to the HTTP status, else
   * `Unknown`.
   */
  readonly reason: string
  /** The delay that the server asked for. Undefined: it asked for none. */
  readonly retryAfterMs: number | undefined
  readonly causes: readonly ApiErrorCause[]

  constructor(
    message: string,
    facts: {
      code: number
      reason: string
      retryAfterMs?: number | undefined
      causes?: readonly ApiErrorCause[]
    },
  ) {
    super(message)
    this.code = facts.code
    this.reason = facts.reason
    this.retryAfterMs = facts.retryAfterMs
    this.causes = facts.causes ?? []
  }
}

/**
 * There was no response: the connection was refused or reset, the call timed out, or there are no
 * credentials. A write that fails so may have been carried out.
 */
export class ApiUnreachableError extends Error {
  override readonly name = 'ApiUnreachableError'
}

/**
 * A reconcile cannot succeed until something changes, so that it is not retried. It is counted apart from
 * failures that may pass.
 */
export class TerminalError extends Error {
  override readonly name = 'TerminalError'
}

/** This process does not hold the lease, or not certainly: it must not write. */
export class NotLeadingError extends Error {
  override readonly name = 'NotLeadingError'
}

/** Returns true for an ApiError that has one of the reasons. */
export function isApiError(error: unknown, ...reasons: readonly string[]): error is ApiError {
  return error instanceof ApiError && reasons.includes(error.reason)
}
