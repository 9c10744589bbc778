// Which tokens, users and guests a tenant refuses although their tokens are valid. `RevocationSet` answers
// for one token with at most four look-ups, however many revocations there are.
import { z } from 'zod'

/**
 * One revocation. `user` alone refuses every token of the user, later ones included, and a guest by its id;
 * `jti` refuses one token; `issuedBeforeMs` refuses the tokens that were issued before that time: those of
 * `user`, or without `user` those of the whole tenant.
 */
export const Revocation = z.strictObject({
  user: z.string().optional(),
  jti: z.string().optional(),
  /** Milliseconds since the epoch. */
  issuedBeforeMs: z.number().optional(),
  /** The revocation has no effect from this time on, in milliseconds since the epoch. Absent: it stays. */
  expiresAtMs: z.number().optional(),
})
export type Revocation = z.infer<typeof Revocation>

/** What a revocation compares of a token or of a guest. */
export interface TokenFacts {
  readonly user: string
  readonly jti?: string | undefined
  /**
   * When the token was issued, in milliseconds since the epoch; 0 when the token does not say so. Absent for
   * guests, whom only a revocation of their id refuses.
   */
  readonly issuedAtMs?: number | undefined
  /** When the token expires, in milliseconds since the epoch. Absent: never. */
  readonly tokenExpiresAtMs?: number | undefined
}

/** The most revocations of one tenant that are made by the server API. */
export const revocationsMax = 100_000

/** Returns the name of a revocation among those of its tenant: two with one name replace each other. */
export function revocationName({ issuedBeforeMs, jti, user }: Revocation): string {
  if (jti !== undefined) return `jti:${jti}`
  if (user === undefined) return 'tenant'
  return issuedBeforeMs === undefined ? `user:${user}` : `issued:${user}`
}

/** Returns whether this is a name that `revocationName` may return. A newer version may have other kinds. */
export function isRevocationName(name: string): boolean {
  return name === 'tenant' || /^(jti|user|issued):/.test(name)
}

/** Returns whether the revocation is of a user or guest, who needs more than a new token to come back. */
export function isOfUser({ issuedBeforeMs, user }: Revocation): boolean {
  return user !== undefined && issuedBeforeMs === undefined
}

/** Returns the refusal as a sentence for the client. It names neither the user nor the token. */
export function revocationMessage(revocation: Revocation): string {
  if (isOfUser(revocation)) return 'This user was revoked: ask the owner of the application'
  return revocation.jti === undefined
    ? 'Tokens that were issued this early were revoked: sign in again to get a new one'
    : 'The token was revoked: sign in again to get a new one'
}

/** Returns the revocation that holds after `added` was made in the presence of `known`: the later times. */
export function mergeRevocations(known: Revocation | undefined, added: Revocation): Revocation {
  if (!known) return added
  const { expiresAtMs, issuedBeforeMs, ...rest } = added
  const expires = Math.max(expiresAtMs ?? Infinity, known.expiresAtMs ?? Infinity)
  return {
    ...rest,
    ...(issuedBeforeMs !== undefined && {
      issuedBeforeMs: Math.max(issuedBeforeMs, known.issuedBeforeMs ?? 0),
    }),
    ...(expires !== Infinity && { expiresAtMs: expires }),
  }
}

/** The revocations of one tenant. */
export class RevocationSet {
  /** Users and guests. */
  #users = new Map<string, Revocation>()
  /** Users whose tokens are refused by their time of issue. */
  #issued = new Map<string, Revocation>()
  #jtis = new Map<string, Revocation>()
  #tenant: Revocation | undefined

  /** Of two revocations with one name, the later times hold. */
  constructor(revocations: Iterable<Revocation> = []) {
    for (const revocation of revocations)
      this.put(mergeRevocations(this.get(revocationName(revocation)), revocation))
  }

  get size(): number {
    return this.#users.size + this.#issued.size + this.#jtis.size + (this.#tenant ? 1 : 0)
  }

  /** Adds the revocation, in place of one with the same name. */
  put(revocation: Revocation): void {
    const { issuedBeforeMs, jti, user } = revocation
    if (jti !== undefined) this.#jtis.set(jti, revocation)
    else if (user === undefined) this.#tenant = revocation
    else if (issuedBeforeMs === undefined) this.#users.set(user, revocation)
    else this.#issued.set(user, revocation)
  }

  /** Returns the revocation with this name (see `revocationName`). */
  get(name: string): Revocation | undefined {
    if (name === 'tenant') return this.#tenant
    const [kind, key] = splitName(name)
    return this.#mapOf(kind)?.get(key)
  }

  /** Removes the revocation with this name. A name of an unknown kind has no effect. */
  remove(name: string): void {
    const [kind, key] = splitName(name)
    if (name === 'tenant') this.#tenant = undefined
    else this.#mapOf(kind)?.delete(key)
  }

  /** Returns a revocation that refuses the token at this time, one of the user before the others. */
  find(token: TokenFacts, nowMs: number): Revocation | undefined {
    const { issuedAtMs, jti, user } = token
    const ofUser = this.#users.size > 0 ? this.#users.get(user) : undefined
    if (ofUser && holds(ofUser, nowMs)) return ofUser
    const ofToken = jti === undefined || this.#jtis.size === 0 ? undefined : this.#jtis.get(jti)
    if (ofToken && holds(ofToken, nowMs)) return ofToken
    if (issuedAtMs === undefined) return undefined
    const ofIssued = this.#issued.size > 0 ? this.#issued.get(user) : undefined
    if (ofIssued && issuedAtMs < (ofIssued.issuedBeforeMs ?? 0) && holds(ofIssued, nowMs)) return ofIssued
    const tenant = this.#tenant
    return tenant && issuedAtMs < (tenant.issuedBeforeMs ?? 0) && holds(tenant, nowMs) ? tenant : undefined
  }

  #mapOf(kind: string): Map<string, Revocation> | undefined {
    switch (kind) {
      case 'jti':
        return this.#jtis
      case 'user':
        return this.#users
      case 'issued':
        return this.#issued
      default:
        return undefined
    }
  }

  *[Symbol.iterator](): Generator<Revocation> {
    if (this.#tenant) yield this.#tenant
    yield* this.#users.values()
    yield* this.#issued.values()
    yield* this.#jtis.values()
  }

  /** Replaces all revocations by those of `other`, which must not be used afterwards. */
  replaceBy(other: RevocationSet): void {
    this.#users = other.#users
    this.#issued = other.#issued
    this.#jtis = other.#jtis
    this.#tenant = other.#tenant
  }

  /** Returns the names of the revocations that have no effect from `nowMs` on. */
  expiredNames(nowMs: number): string[] {
    const names: string[] = []
    for (const revocation of this) if (!holds(revocation, nowMs)) names.push(revocationName(revocation))
    return names
  }

  /** Removes the revocations that have no effect from `nowMs` on. */
  removeExpired(nowMs: number): void {
    for (const name of this.expiredNames(nowMs)) this.remove(name)
  }
}

function splitName(name: string): [kind: string, key: string] {
  const colon = name.indexOf(':')
  return [name.slice(0, colon), name.slice(colon + 1)]
}

function holds({ expiresAtMs }: Revocation, nowMs: number): boolean {
  return expiresAtMs === undefined || nowMs < expiresAtMs
}
