// A provider rotates its key while strangers invent key ids: clients with the new key get a temporary answer
// at both endpoints, and the official client connects by itself when the key is known.
import { expect, test } from 'vitest'
import { signedBy, testKey, type TestKey } from '../../src/auth/auth.testing.js'
import { lookupBurst } from '../../src/auth/jwks-remote.js'
import { centrifugeUrl, gatewayFor, next, sdkAt } from '../support/centrifuge-sdk.js'
import { chatUrl, refusedUpgrade } from '../support/chat-client.js'
import { localServer } from '../support/local-server.js'

async function startProvider(...first: TestKey[]) {
  const state = { keys: first, requests: 0, uri: '' }
  state.uri = await localServer((_request, response) => {
    state.requests += 1
    response.end(JSON.stringify({ keys: state.keys.map(({ jwk }) => jwk) }))
  })
  return state
}

test('a new key is found at once, and during a flood of invented key ids the answer is temporary', async () => {
  const [old, rotated, last] = [
    await testKey('ES256', 'old'),
    await testKey('ES256', 'rotated'),
    await testKey('ES256', 'last'),
  ]
  const provider = await startProvider(old)
  const claims = { user: 'sub', name: 'name', roles: 'roles', info: 'info' }
  const gateway = await gatewayFor(
    {
      issuers: [
        { name: 'provider', algorithms: ['ES256'], claims, key: { type: 'JWKSURI', uri: provider.uri } },
      ],
    },
    { allowPrivateJwks: true },
  )
  const chatWith = async (key: TestKey) =>
    refusedUpgrade(`${chatUrl(gateway)}?token=${await signedBy(key, { sub: 'ann' })}`)
  const connectedWith = async (key: TestKey) => {
    const client = sdkAt(centrifugeUrl(gateway), { getToken: () => signedBy(key, { sub: 'ann' }) })
    return { client, connected: next(client, 'connected') }
  }
  const first = await connectedWith(old)
  first.client.connect()
  await first.connected

  // No blind window after a rotation.
  provider.keys = [old, rotated]
  const second = await connectedWith(rotated)
  second.client.connect()
  await second.connected
  expect(provider.requests).toBe(2)

  // One set without the key proves nothing, because the provider may publish the key a little later.
  for (let n = 1; n < lookupBurst; n += 1)
    expect(await chatWith(await testKey('ES256', `invented-${n}`))).toMatchObject({
      status: 503,
      body: { code: 'KEYS_UNAVAILABLE' },
    })
  provider.keys = [old, rotated, last]
  const refused = await chatWith(last)
  expect(refused).toMatchObject({ status: 503, body: { code: 'KEYS_UNAVAILABLE' } })
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  expect(provider.requests).toBe(1 + lookupBurst)

  const third = await connectedWith(last)
  const refusal = next(third.client, 'error')
  third.client.connect()
  expect(await refusal).toMatchObject({ error: { code: 100 } })
  await third.connected
}, 90_000)
