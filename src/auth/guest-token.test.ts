import fc from 'fast-check'
import { createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { ManualClock, secret, sharedIssuer } from './auth.testing.js'
import { GuestTokens, guestTokenTtlMs, isGuestToken, newGuestId } from './guest-token.js'
import { mintToken } from './mint.js'
import { TokenVerifier } from './token.js'

const secretA = Buffer.alloc(32, 1)
const secretB = Buffer.alloc(32, 2)

function tokensOf(changes: { tenantId?: string; secrets?: Buffer[]; clock?: ManualClock } = {}): GuestTokens {
  const { clock = new ManualClock(), secrets = [secretA], tenantId = 'id-1' } = changes
  return new GuestTokens(tenantId, { secrets, clock })
}

const id = newGuestId()
const token = tokensOf().issue(id)
const invalid = expect.objectContaining({ code: 'TOKEN_INVALID' }) as Error

describe('a guest id', () => {
  test('has 128 random bits and only characters of URLs and channel names', () => {
    const ids = new Set(Array.from({ length: 1_000 }, newGuestId))
    expect(ids.size).toBe(1_000)
    for (const each of ids) expect(each).toMatch(/^[\w-]{22}$/)
  })
})

describe('a guest token', () => {
  test('brings back the guest that it was issued to, at every gateway with the secret', () => {
    expect(tokensOf().read(token)).toBe(id)
    expect(tokensOf().read(tokensOf().issue(id))).toBe(id)
  })

  test('may be sent as a subprotocol and in a URL', () => {
    expect(token).toMatch(/^[\w.-]{95}$/)
  })

  test('is valid for 30 days', () => {
    const clock = new ManualClock()
    const tokens = tokensOf({ clock })
    clock.advance(guestTokenTtlMs - 1_000)
    expect(tokens.read(token)).toBe(id)
    clock.advance(1_000)
    expect(tokens.read(token)).toBeUndefined()
  })

  test('of another tenant, or of another installation, makes a new guest', () => {
    expect(tokensOf({ tenantId: 'id-2' }).read(token)).toBeUndefined()
    expect(tokensOf({ secrets: [secretB] }).read(token)).toBeUndefined()
  })

  test('survives the rotation of the secret: the first signs, all verify', () => {
    const during = tokensOf({ secrets: [secretB, secretA] })
    expect(during.read(token)).toBe(id)
    const after = tokensOf({ secrets: [secretB] })
    expect(after.read(during.issue(id))).toBe(id)
    expect(after.read(token)).toBeUndefined()
  })

  test('with any change is refused, unless the change is in the id of the key', () => {
    const keyId = { from: 'guest.'.length, to: 'guest.'.length + 11 }
    const characters = 'AZaz09-_.~ %'
    for (let at = 0; at < token.length; at += 1) {
      for (const character of characters) {
        const changed = token.slice(0, at) + character + token.slice(at + 1)
        if (changed === token) continue
        if (at >= keyId.from && at < keyId.to && /[\w-]/.test(character))
          expect(tokensOf().read(changed)).toBeUndefined()
        else expect(() => tokensOf().read(changed)).toThrow(invalid)
      }
    }
  })

  test.each([
    ['shortened', token.slice(0, -1)],
    ['without its signature', token.slice(0, token.lastIndexOf('.') + 1)],
    ['extended', `${token}A`],
    ['with a fifth part', `${token}.x`],
    ['padded', `${token}=`],
    ['with a line break', `${token}\n`],
    ['with white space', ` ${token}`],
    ['in capitals', token.toUpperCase()],
    ['percent-encoded', token.replaceAll('.', '%2E')],
    ['with an expiry in hex', token.replace(/\.\d+\./, '.0x7fffffff.')],
    ['with an expiry that begins with zero', token.replace(/\.(\d+)\./, '.0$1.')],
    ['with an endless expiry', token.replace(/\.\d+\./, '.99999999999.')],
    ['with an empty id', token.replace(id, '')],
    ['with the id of another guest', token.replace(id, newGuestId())],
    ['with a colon in the id', token.replace(id, `${id.slice(0, -1)}:`)],
  ])('%s is refused', (_what, changed) => {
    expect(() => tokensOf().read(changed)).toThrow(invalid)
  })

  test('signed with the key of the tenant is refused', () => {
    const signed = token.slice(0, token.lastIndexOf('.'))
    const signature = createHmac('sha256', secret).update(signed).digest('base64url')
    expect(() => tokensOf().read(`${signed}.${signature}`)).toThrow(invalid)
  })

  test('never reads another text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(() => tokensOf().read(`guest.${text}`)).toThrow(invalid)
      }),
    )
  })

  test('is no token of a user and no subscription token, whatever key the tenant has', async () => {
    const raw = (key: Uint8Array): ReturnType<typeof sharedIssuer> =>
      sharedIssuer({
        algorithms: ['HS256', 'HS384', 'HS512'],
        key: { type: 'SharedKey', secret: Buffer.from(key).toString('base64'), sample: false },
      })
    const verifier = new TokenVerifier([raw(secretA), raw(secret)], { clock: new ManualClock() })
    await expect(verifier.verify(token)).rejects.toThrow(invalid)
    const bearer = { user: `guest:${id}`, channel: 'x', client: '' }
    await expect(verifier.verifySubscription(token, bearer)).rejects.toThrow(invalid)
  })
})

test('no token of a user is read as a guest token', async () => {
  const clock = new ManualClock()
  const jwt = await mintToken(sharedIssuer(), { user: 'guest:x', expiresInS: 60, nowMs: clock.epochMs() })
  expect(isGuestToken(jwt)).toBe(false)
  expect(() => tokensOf().read(jwt)).toThrow(invalid)
  expect(isGuestToken(token)).toBe(true)
})
