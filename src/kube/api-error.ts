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
  /** The HTTP status code. */
  readonly code: number
  /**
   * `Status.reason`: NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Unauthorized, Expired, Gone,
   * TooManyRequests and so on. When the body is not a Status, this is the reason that corresponds to the HTTP
   * status, or `Unknown`.
   */
  readonly reason: string
  /** The delay that the server requested, in milliseconds. Undefined when it requested none. */
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
 * The call got no response: the connection was refused or reset, the call timed out, or there are no
 * credentials. A write that fails with this error may have been carried out.
 */
export class ApiUnreachableError extends Error {
  override readonly name = 'ApiUnreachableError'
}

/**
 * Thrown by a reconcile that cannot succeed until an object changes. Such a reconcile is not retried, and is
 * counted separately from temporary failures.
 */
export class TerminalError extends Error {
  override readonly name = 'TerminalError'
}

/** This process does not hold the lease, or cannot be certain that it does, so it must not write. */
export class NotLeadingError extends Error {
  override readonly name = 'NotLeadingError'
}

/** Returns true for an ApiError that has one of the reasons. */
export function isApiError(error: unknown, ...reasons: readonly string[]): error is ApiError {
  return error instanceof ApiError && reasons.includes(error.reason)
}
