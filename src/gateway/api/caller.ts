// Who calls the server API, by its key, and what its ChatCredential lets it do.
import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { CommandError } from '../../errors.js'
import { hashApiKey } from '../../tenant/api-key.js'
import { compileMatch } from '../../tenant/channel-match.js'
import { operations, type ApiKey, type Operation } from '../../tenant/policy.js'

/** `Subscribe` is to take users in and out, and so an administrator's. */
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

  isAllowed(operation: Operation, channel: string): boolean {
    const { role, scopes } = this.#key
    if (!operationsOf[role].includes(operation)) return false
    // A backend is no user: a variable in a scope stands for everybody's.
    return (
      scopes.length === 0 ||
      scopes.some(
        (scope) =>
          scope.operations.includes(operation) && compileMatch(scope.match).matchesAnySubject(channel),
      )
    )
  }

  /** Throws PERMISSION_DENIED. */
  requirePermission(operation: Operation, channel: string): void {
    if (this.isAllowed(operation, channel)) return
    const { credential, role } = this.#key
    const why = operationsOf[role].includes(operation)
      ? 'none of its scopes covers that'
      : `its role is ${role}`
    throw new CommandError(
      'PERMISSION_DENIED',
      `The key of ChatCredential "${credential}" may not ${operation} on "${channel}": ${why}`,
    )
  }

  /** Throws PERMISSION_DENIED. */
  requireRole(...roles: ApiKey['role'][]): void {
    if (roles.includes(this.#key.role)) return
    throw new CommandError(
      'PERMISSION_DENIED',
      `The key of ChatCredential "${this.#key.credential}" may not do that: its role is ${this.#key.role}, and it takes ${roles.join(' or ')}`,
    )
  }

  /** For what concerns people and no one channel. Throws PERMISSION_DENIED. */
  requireWholeTenant(): void {
    if (this.#key.scopes.length === 0) return
    throw new CommandError(
      'PERMISSION_DENIED',
      `The key of ChatCredential "${this.#key.credential}" may not do that: it has scopes, and users are on other channels too`,
    )
  }
}

/** By `X-API-Key: <key>` or `Authorization: apikey <key>`. Throws UNAUTHORIZED. */
export function authenticateApiCaller(
  headers: IncomingHttpHeaders,
  keys: readonly ApiKey[] | undefined,
  nowMs: number,
): ApiCaller {
  const presented = presentedKey(headers)
  if (presented === '') {
    throw new CommandError(
      'UNAUTHORIZED',
      'Send an API key, as "X-API-Key: <key>" or "Authorization: apikey <key>"',
    )
  }
  const hash = Buffer.from(hashApiKey(presented), 'hex')
  // All are looked at, each in the same time: how long it takes tells nothing of the keys.
  const known = (keys ?? []).filter(({ sha256 }) => timingSafeEqual(Buffer.from(sha256, 'hex'), hash))
  const key = known.find(({ expiresAtMs = Infinity }) => expiresAtMs > nowMs)
  if (!key) {
    const [expired] = known
    throw new CommandError(
      'UNAUTHORIZED',
      expired
        ? `The API key of ChatCredential "${expired.credential}" has expired`
        : 'No ChatCredential of this tenant has that API key',
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
