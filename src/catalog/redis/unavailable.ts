// The errors of the catalog's Redis calls that a caller may answer with another attempt.
import { RedisUnavailableError, UnknownOutcomeError } from '../../redis/link.js'

/**
 * Redis replied with an error, so that the call changed nothing, or with a value that the catalog does not
 * know.
 */
export class CatalogReplyError extends Error {
  override readonly name = 'CatalogReplyError'
}

/**
 * Returns true for an error after which the same call may succeed later: Redis cannot be reached, the outcome
 * of the call is not known, or Redis replied with an error. Every other error is a bug or a failure of the
 * caller, and must not be swallowed.
 */
export function isRedisUnavailable(error: unknown): error is Error {
  return (
    error instanceof RedisUnavailableError ||
    error instanceof UnknownOutcomeError ||
    error instanceof CatalogReplyError
  )
}
