// The methods that revoke tokens, users and guests: revoke, unrevoke and revocations.
import type { z } from 'zod'
import { CommandError } from '../../errors.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { revocationName, type Revocation } from '../../tenant/revocations.js'
import { isGuest } from '../../tenant/user.js'
import type { ApiMethodCall } from './method.js'
import type { RevocationsParams, RevokeParams, UnrevokeParams } from './schema.js'

/** The clocks of backends may be a little ahead. */
const clockToleranceMs = 60_000
const pageDefault = 100

/** Resolves when the revocation is stored and in force on this gateway. */
export async function revokeMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof RevokeParams>,
): Promise<MessageFields> {
  requireAdmin(call)
  const revocation = fields.token ? await ofToken(call, fields) : ofNames(fields)
  requireTimes(call, revocation)
  await call.tenant.revocations.add(revocation)
  return fieldsOf(revocation)
}

/** `user` alone ends both kinds of revocations of the user. */
export async function unrevokeMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof UnrevokeParams>,
): Promise<MessageFields> {
  requireAdmin(call)
  const { jti, user } = fields
  if ([fields.tenant, jti, user].filter(Boolean).length !== 1)
    throw new CommandError(
      'BAD_REQUEST',
      'Cannot end a revocation: name one of "user", "jti" and "tenant", and only one',
    )
  const named: Revocation[] = user
    ? [{ user }, { user, issuedBeforeMs: 0 }]
    : [jti ? { jti } : { issuedBeforeMs: 0 }]
  const { revocations } = call.tenant
  const removed = await Promise.all(named.map((one) => revocations.remove(revocationName(one))))
  return { removed: removed.filter(Boolean).length }
}

export async function revocationsMethod(
  call: ApiMethodCall,
  { cursor, limit }: z.infer<typeof RevocationsParams>,
): Promise<MessageFields> {
  requireAdmin(call)
  const page = await call.results.read(async () => {
    const result = await call.tenant.revocations.list({ after: cursor ?? '', limit: limit || pageDefault })
    return { result, bytes: result.revocations.reduce(addRevocationBytes, 0) }
  })
  const nowMs = call.gateway.context.clock.epochMs()
  const inForce = page.revocations.filter(({ expiresAtMs = Infinity }) => expiresAtMs > nowMs)
  return {
    revocations: inForce.map(fieldsOf),
    cursor: page.next,
    total: page.total,
  }
}

/** Adds what a revocation has in the result: its names, and about 64 bytes of JSON and times. */
function addRevocationBytes(sum: number, { jti = '', user = '' }: Revocation): number {
  return sum + Buffer.byteLength(jti) + Buffer.byteLength(user) + 64
}

function requireAdmin({ caller }: ApiMethodCall): void {
  caller.requireRole('Admin')
  caller.requireWholeTenant()
}

/** Reads the id and the expiry out of a valid token. */
async function ofToken(
  { tenant }: ApiMethodCall,
  {
    expires_at: expiresAt,
    issued_before: issuedBefore,
    jti: givenJti,
    token,
    user,
  }: z.infer<typeof RevokeParams>,
): Promise<Revocation> {
  if (user || givenJti || issuedBefore)
    throw badRequest('"token" names the token by itself: omit "user", "jti" and "issued_before"')
  const { jti, tokenExpiresAtMs } = await tenant.tokens.verify(token ?? '')
  if (jti === undefined)
    throw badRequest('the token has no "jti": revoke its user, with "issued_before" to spare later tokens')
  return withExpiry({ jti }, tokenExpiresAtMs === undefined ? expiresAt : tokenExpiresAtMs / 1000)
}

function ofNames({
  expires_at: expiresAt,
  issued_before: issuedBefore,
  jti,
  user,
}: z.infer<typeof RevokeParams>): Revocation {
  if (jti) {
    if (user || issuedBefore) throw badRequest('"jti" names one token: omit "user" and "issued_before"')
    return withExpiry({ jti }, expiresAt)
  }
  if (!user && !issuedBefore)
    throw badRequest('name what to revoke: "user", "jti", "token" or "issued_before"')
  if (user && isGuest(user) && issuedBefore)
    throw badRequest('a guest has no time of issue: omit "issued_before" to revoke the guest')
  return {
    ...(user && { user }),
    ...(issuedBefore && { issuedBeforeMs: issuedBefore * 1000 }),
    ...(expiresAt && { expiresAtMs: expiresAt * 1000 }),
  }
}

function withExpiry(revocation: Revocation, expiresAt: number | null | undefined): Revocation {
  if (expiresAt) return { ...revocation, expiresAtMs: expiresAt * 1000 }
  throw badRequest(
    'a revocation by "jti" needs "expires_at": when the token expires, or for a token without "exp" the time ' +
      'until which it is refused. With "token" instead of "jti", the "exp" of the token is used',
  )
}

function requireTimes({ gateway }: ApiMethodCall, { expiresAtMs, issuedBeforeMs }: Revocation): void {
  const nowMs = gateway.context.clock.epochMs()
  if (expiresAtMs !== undefined && expiresAtMs <= nowMs) throw badRequest('"expires_at" is in the past')
  if (issuedBeforeMs !== undefined && issuedBeforeMs > nowMs + clockToleranceMs)
    throw badRequest(
      '"issued_before" is in the future: it would refuse the tokens that are issued until then',
    )
}

function badRequest(problem: string): CommandError {
  return new CommandError('BAD_REQUEST', `Cannot revoke: ${problem}`)
}

function fieldsOf({ expiresAtMs, issuedBeforeMs, jti, user }: Revocation): MessageFields {
  return {
    user,
    jti,
    ...(issuedBeforeMs !== undefined && { issued_before: issuedBeforeMs / 1000 }),
    ...(expiresAtMs !== undefined && { expires_at: expiresAtMs / 1000 }),
  }
}
