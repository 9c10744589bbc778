import { expect, test } from 'vitest'
import { jwksIssuer, ManualClock, publicIssuer, sharedIssuer } from './auth.testing.js'
import { canMint, CannotMintError, mintToken } from './mint.js'
import { TokenVerifier } from './token.js'

const clock = new ManualClock()
const options = { user: 'u1', expiresInS: 60, nowMs: clock.epochMs() }

test('the issuer accepts a minted token, with the requested expiry', async () => {
  const issuer = sharedIssuer({ issuer: 'https://a.example', audience: 'parley', algorithms: ['HS512'] })
  const token = await mintToken(issuer, { ...options, claims: { roles: ['admin'], team: 'red' } })
  const verified = await new TokenVerifier([issuer], { clock }).verify(token)
  expect(verified).toMatchObject({ user: 'u1', roles: ['admin'], expiresAtMs: clock.epochMs() + 60_000 })
  expect(verified.claims).toMatchObject({ team: 'red', aud: 'parley' })
})

test('the user is in the claim that the issuer configures', async () => {
  const issuer = sharedIssuer({ claims: { user: 'ids.chat', name: 'name', roles: 'roles', info: 'info' } })
  const token = await mintToken(issuer, options)
  await expect(new TokenVerifier([issuer], { clock }).verify(token)).resolves.toMatchObject({ user: 'u1' })
})

test('a token with a channel is a subscription token', async () => {
  const token = await mintToken(sharedIssuer(), { ...options, claims: { channel: 'room' } })
  const verifier = new TokenVerifier([sharedIssuer()], { clock })
  const bearer = { user: 'u1', channel: 'room', client: 'c' }
  await expect(verifier.verifySubscription(token, bearer)).resolves.toBeDefined()
  await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
})

test.each([publicIssuer('pem'), jwksIssuer([])])(
  'no token is minted without a secret: $name',
  async (issuer) => {
    expect(canMint(issuer)).toBe(false)
    const error: unknown = await mintToken(issuer, options).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(CannotMintError)
    expect((error as Error).message).toContain('only verifies')
  },
)
