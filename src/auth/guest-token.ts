// Guest tokens: a client without a user account presents one to come back as the same guest.
//
// A guest token is `guest.<key id>.<guest id>.<expiry>.<signature>`, so it can never be read as a JWT, which
// has three parts, and no JWT can be read as a guest token. The signing keys are derived for one tenant from
// secrets that all gateways of an installation have, never from the keys of the tenant.
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../time.js'
import { invalidToken } from './token-header.js'

/** A guest token is valid for this long. Each connection gets a new one. */
export const guestTokenTtlMs = 30 * 86_400_000

const prefix = 'guest.'
const form =
  /^guest\.(?<keyId>[\w-]{11})\.(?<guest>[\w-]{22})\.(?<expiresAtS>[1-9]\d{0,11})\.(?<signature>[\w-]{43})$/

const keyBytes = 32
const keyIdBytes = 8

export interface GuestTokensOptions {
  /**
   * Secrets of 32 random bytes. The first signs, all verify. Gateways with the same secrets accept each
   * other's tokens.
   */
  readonly secrets: readonly Uint8Array[]
  readonly clock: Clock
}

/** Returns the id of a new guest: 128 random bits in base64url, which URLs and channel names may contain. */
export function newGuestId(): string {
  return randomBytes(16).toString('base64url')
}

/** Returns whether the text is meant as a guest token. `GuestTokens.read` decides whether it is valid. */
export function isGuestToken(text: string): boolean {
  return text.startsWith(prefix)
}

/** Issues and reads the guest tokens of one tenant. */
export class GuestTokens {
  readonly #tenantId: string
  readonly #options: GuestTokensOptions
  #derived: ReadonlyMap<string, Buffer> | undefined

  constructor(tenantId: string, options: GuestTokensOptions) {
    this.#tenantId = tenantId
    this.#options = options
  }

  /** Returns a token with which the guest can come back during the next 30 days. */
  issue(guestId: string): string {
    const [first] = this.#keys
    if (!first) throw new Error('guest tokens need at least one secret')
    const [keyId, key] = first
    const expiresAtS = Math.floor((this.#options.clock.epochMs() + guestTokenTtlMs) / 1000)
    const signed = `${prefix}${keyId}.${guestId}.${expiresAtS}`
    return `${signed}.${signatureOf(signed, key)}`
  }

  /**
   * Returns the id of the guest. Returns undefined when the token has expired, or was signed with a key that
   * these gateways do not have for this tenant: after a change of the secrets, or for another tenant. Its
   * bearer becomes a new guest. Throws TOKEN_INVALID for a token that was never issued.
   */
  read(token: string): string | undefined {
    const parts = form.exec(token)?.groups
    if (!parts) throw invalidToken('is not a guest token as this server issues them: connect without it')
    const { expiresAtS = '', guest = '', keyId = '', signature = '' } = parts
    const key = this.#keys.get(keyId)
    if (!key) return undefined
    // The signatures are compared as text, because other texts in base64url can stand for the same bytes.
    const expected = signatureOf(token.slice(0, -signature.length - 1), key)
    if (!timingSafeEqual(Buffer.from(signature), Buffer.from(expected)))
      throw invalidToken('was not issued by this server, or was changed: connect without it')
    return Number(expiresAtS) * 1000 > this.#options.clock.epochMs() ? guest : undefined
  }

  /** The keys by id, the signing key first. Derived at the first use: most tenants have no guests. */
  get #keys(): ReadonlyMap<string, Buffer> {
    this.#derived ??= new Map(
      this.#options.secrets.map((secret) => {
        const label = `parley guest token ${this.#tenantId}`
        const bytes = Buffer.from(hkdfSync('sha256', secret, '', label, keyBytes + keyIdBytes))
        return [bytes.subarray(keyBytes).toString('base64url'), bytes.subarray(0, keyBytes)]
      }),
    )
    return this.#derived
  }
}

function signatureOf(text: string, key: Buffer): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}
