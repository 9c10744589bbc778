// How a call to the API server can fail. Whoever handles it branches on `reason`, never on text.

/** One of `Status.details.causes`: which field, and what is wrong with it. */
export interface ApiErrorCause {
  readonly reason: string
  readonly field: string
  readonly message: string
}

/** The server answered, and the answer is no. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** HTTP status. */
  readonly code: number
  /**
   * Status.reason: NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Unauthorized, Expired, Gone, TooManyRequests, … When the body
   * was no Status: 'Unknown'.
   */
  readonly reason: string
  /** What the server asked for; undefined when it did not. */
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

/** No answer: refused, reset, timed out, no credentials. A write that ends so may have happened. */
export class ApiUnreachableError extends Error {
  override readonly name = 'ApiUnreachableError'
}

/** Trying again will not help: no retry until something changes. Counted apart from the failures that may pass. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError'
}

/** This process does not hold the lease any more (or not for sure): nothing may be written. */
export class NotLeadingError extends Error {
  override readonly name = 'NotLeadingError'
}

export function isApiError(error: unknown, ...reasons: readonly string[]): error is ApiError {
  return error instanceof ApiError && reasons.includes(error.reason)
}
