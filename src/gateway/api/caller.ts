// Authenticates the caller of the server API by its key, and checks what its ChatCredential allows.
import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { CommandError } from '../../errors.js'
import { hashApiKey } from '../../tenant/api-key.js'
import { compileMatch } from '../../tenant/channel-match.js'
import { operations, type ApiKey, type Operation } from '../../tenant/policy.js'

/** The operations of each role. `Subscribe` subscribes and unsubscribes users, so only Admin has it. */
const operationsOf: Readonly<Record<ApiKey['role'], readonly Operation[]>> = {
  Publisher: ['Publish'],
  ReadOnly: ['Presence', 'History'],
  Admin: operations,
}

export class ApiCaller {
  readonly #key: ApiKey

  constructor(key: ApiKey) {
    this.#key = key
  }

  /** True when role and scopes of the key allow the operation on the channel. */
  isAllowed(operation: Operation, channel: string): boolean {
    const { role, scopes } = this.#key
    if (!operationsOf[role].includes(operation)) return false
    // A backend is not a user, so a variable in a scope matches the value of every user.
    return (
      scopes.length === 0 ||
      scopes.some(
        (scope) =>
          scope.operations.includes(operation) && compileMatch(scope.match).matchesAnySubject(channel),
      )
    )
  }

  /** Throws PERMISSION_DENIED when role or scopes of the key do not allow the operation on the channel. */
  requirePermission(operation: Operation, channel: string): void {
    if (this.isAllowed(operation, channel)) return
    const { credential, role } = this.#key
    const why = operationsOf[role].includes(operation)
      ? 'none of its scopes covers the channel and the operation'
      : `its role is ${role}`
    throw new CommandError(
      'PERMISSION_DENIED',
      `The key of ChatCredential "${credential}" may not ${operation} on "${channel}": ${why}`,
    )
  }

  /** Throws PERMISSION_DENIED when the key has none of the roles. */
  requireRole(...roles: ApiKey['role'][]): void {
    if (roles.includes(this.#key.role)) return
    throw new CommandError(
      'PERMISSION_DENIED',
      `The key of ChatCredential "${this.#key.credential}" may not call this method: ` +
        `its role is ${this.#key.role}, and the method requires ${roles.join(' or ')}`,
    )
  }

  /** For methods that affect a user on all channels. Throws PERMISSION_DENIED when the key has scopes. */
  requireWholeTenant(): void {
    if (this.#key.scopes.length === 0) return
    throw new CommandError(
      'PERMISSION_DENIED',
      `The key of ChatCredential "${this.#key.credential}" may not call this method: ` +
        'it has scopes, and the method affects all channels of the user',
    )
  }
}

/**
 * Reads the key from `X-API-Key: <key>` or `Authorization: apikey <key>`. Throws UNAUTHORIZED when it is
 * missing, unknown or expired.
 */
export function authenticateApiCaller(
  headers: IncomingHttpHeaders,
  keys: readonly ApiKey[] | undefined,
  nowMs: number,
): ApiCaller {
  const presented = presentedKey(headers)
  if (presented === '') {
    throw new CommandError(
      'UNAUTHORIZED',
      'Send an API key: "X-API-Key: <key>" or "Authorization: apikey <key>"',
    )
  }
  const hash = Buffer.from(hashApiKey(presented), 'hex')
  // All keys are compared, each in constant time, so the duration reveals nothing about them.
  const known = (keys ?? []).filter(({ sha256 }) => timingSafeEqual(Buffer.from(sha256, 'hex'), hash))
  const key = known.find(({ expiresAtMs = Infinity }) => expiresAtMs > nowMs)
  if (!key) {
    const [expired] = known
    throw new CommandError(
      'UNAUTHORIZED',
      expired
        ? `The API key of ChatCredential "${expired.credential}" has expired`
        : 'No ChatCredential of this tenant has this API key',
    )
  }
  return new ApiCaller(key)
}

function presentedKey(headers: IncomingHttpHeaders): string {
  const header = headers['x-api-key']
  if (typeof header === 'string') return header.trim()
  const [scheme = '', key = '', ...rest] = (headers.authorization ?? '').trim().split(/ +/)
  return scheme.toLowerCase() === 'apikey' && rest.length === 0 ? key : ''
}
