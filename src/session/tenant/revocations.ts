// The revocations that a tenant's gateway enforces: those of its policy and those made by the server API. New
// ones end live sessions at once.
import { CommandError } from '../../errors.js'
import type { Log } from '../../log.js'
import type { RevocationListener, RevocationPage, RevocationStore } from '../../revocation/store.js'
import type { TenantPolicy } from '../../tenant/policy.js'
import {
  isOfUser,
  revocationMessage,
  RevocationSet,
  type Revocation,
  type TokenFacts,
} from '../../tenant/revocations.js'
import type { Clock } from '../../time.js'
import { HolderIndex } from './holder-index.js'

/** A refusal because of a revocation. */
export class TokenRevokedError extends CommandError {
  /** True when the user was revoked, so that a new token does not help. */
  readonly ofUser: boolean

  constructor(revocation: Revocation) {
    super('TOKEN_REVOKED', revocationMessage(revocation))
    this.ofUser = isOfUser(revocation)
  }
}

/** A session or subscription that compares its tokens with the revocations. */
export interface TokenHolder {
  /** The revocations changed: the holder looks up its tokens, and may end. */
  recheckRevocations(): void
}

export interface TenantRevocationsDeps {
  readonly store: RevocationStore
  readonly clock: Clock
  readonly log: Log
  /** Connected sessions. */
  readonly sessions: Iterable<TokenHolder>
}

export class TenantRevocations implements RevocationListener {
  readonly #deps: TenantRevocationsDeps
  readonly #tenantId: string
  readonly #sessionsByUser = new HolderIndex<TokenHolder>()
  readonly #holdersByToken = new HolderIndex<TokenHolder>()
  readonly #byApi: RevocationSet
  #ofPolicy: RevocationSet

  constructor(policy: TenantPolicy, deps: TenantRevocationsDeps) {
    this.#deps = deps
    this.#tenantId = policy.tenantId
    this.#ofPolicy = revocationsOf(policy)
    this.#byApi = deps.store.open(policy.tenantId, this)
  }

  /** The number of revocations in force. */
  get size(): number {
    return this.#byApi.size + this.#ofPolicy.size
  }

  /** Applies a new policy. Afterwards, call `find` for every connection. */
  update(policy: TenantPolicy): void {
    this.#ofPolicy = revocationsOf(policy)
  }

  close(): void {
    this.#deps.store.close(this.#tenantId)
  }

  // ——— Tokens ———

  /** See `RevocationStore.current`. */
  current(): Promise<void> | undefined {
    return this.#deps.store.current()
  }

  /** Returns a revocation that refuses the token or guest. */
  find(token: TokenFacts): Revocation | undefined {
    const nowMs = this.#deps.clock.epochMs()
    const ofPolicy = this.#ofPolicy.find(token, nowMs)
    if (ofPolicy && isOfUser(ofPolicy)) return ofPolicy
    const byApi = this.#byApi.find(token, nowMs)
    if (byApi) this.#keepFor(token, byApi)
    return byApi && isOfUser(byApi) ? byApi : (ofPolicy ?? byApi)
  }

  /** Throws TokenRevokedError when a revocation refuses the token or guest. */
  require(token: TokenFacts): void {
    const revocation = this.find(token)
    if (revocation) throw new TokenRevokedError(revocation)
  }

  /**
   * A revocation that refuses a token stays until the token expires, although its author gave it less time.
   * One of a user ends when its author said: the user's tokens are accepted again then.
   */
  #keepFor({ tokenExpiresAtMs }: TokenFacts, revocation: Revocation): void {
    const { expiresAtMs, ...rest } = revocation
    if (expiresAtMs === undefined || isOfUser(revocation)) return
    if (tokenExpiresAtMs !== undefined && tokenExpiresAtMs <= expiresAtMs) return
    const kept = tokenExpiresAtMs === undefined ? rest : { ...rest, expiresAtMs: tokenExpiresAtMs }
    this.#byApi.put(kept)
    this.#deps.store.prolong(this.#tenantId, kept).catch((error: unknown) => {
      this.#deps.log.warn({ err: error, tenantId: this.#tenantId }, 'a revocation could not be prolonged')
    })
  }

  // ——— Sessions ———

  /** A connected session is rechecked for revocations of its user and of its token. */
  watchSession(session: TokenHolder, identity: TokenFacts): void {
    this.#sessionsByUser.add(identity.user, session)
    this.watchToken(session, identity)
  }

  unwatchSession(session: TokenHolder, identity: TokenFacts): void {
    this.#sessionsByUser.remove(identity.user, session)
    this.unwatchToken(session, identity)
  }

  /** A subscription is rechecked for revocations of its token. */
  watchToken(holder: TokenHolder, { jti }: TokenFacts): void {
    if (jti !== undefined) this.#holdersByToken.add(jti, holder)
  }

  unwatchToken(holder: TokenHolder, { jti }: TokenFacts): void {
    if (jti !== undefined) this.#holdersByToken.remove(jti, holder)
  }

  revoked(revocations: readonly Revocation[] | 'all'): void {
    for (const holder of this.#affected(revocations)) holder.recheckRevocations()
  }

  #affected(revocations: readonly Revocation[] | 'all'): Iterable<TokenHolder> {
    if (revocations === 'all' || revocations.some(({ jti, user }) => jti === undefined && user === undefined))
      return [...this.#deps.sessions]
    return new Set(
      revocations.flatMap(({ jti, user }) => [
        ...(user === undefined ? [] : this.#sessionsByUser.get(user)),
        ...(jti === undefined ? [] : this.#holdersByToken.get(jti)),
      ]),
    )
  }

  // ——— For the server API ———

  add(revocation: Revocation): Promise<void> {
    return this.#deps.store.add(this.#tenantId, revocation)
  }

  remove(name: string): Promise<boolean> {
    return this.#deps.store.remove(this.#tenantId, name)
  }

  list(page: { after: string; limit: number }): Promise<RevocationPage> {
    return this.#deps.store.list(this.#tenantId, page)
  }
}

function revocationsOf({ revocations = [], tokensIssuedBeforeMs }: TenantPolicy): RevocationSet {
  const set = new RevocationSet(revocations)
  if (tokensIssuedBeforeMs !== undefined) set.put({ issuedBeforeMs: tokensIssuedBeforeMs })
  return set
}
