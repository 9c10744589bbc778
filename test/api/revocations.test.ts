// revoke, unrevoke and revocations: with one gateway, and with two gateways on one Redis, where a request to
// one takes effect on the clients of the other.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { adminKey, apiError, apiKey, apiResult } from '../support/api-client.js'
import {
  centrifugeUrl,
  collect,
  connected,
  connectedAs,
  next,
  sdkAt,
  sdkOf,
  subscribed,
} from '../support/centrifuge-sdk.js'
import { ChatClient, chatAs, chatUrl, plainGet, refusedUpgrade } from '../support/chat-client.js'
import { startGateway, type TestGateway } from '../support/gateway.js'
import { allow, allOperations, rule, tenantPolicy } from '../support/policies.js'
import { openTestRevocations } from '../support/redis-revocations.js'
import { endRedisProcesses, startRedis } from '../support/redis-processes.js'

const keys = {
  publisher: 'parley_test-key-of-a-publisher-of-acme-----',
  scoped: 'parley_test-key-that-has-scopes-of-acme----',
}
const scope = { match: { type: 'Prefix' as const, value: 'news:' }, operations: ['Publish' as const] }
const channels = [
  rule('general'),
  rule('lobby'),
  rule('dm:{user}'),
  rule('open', { grants: [allow(allOperations, [{ authenticated: true }, { anonymous: true }])] }),
]
const acme = (changes: Partial<TenantPolicy> = {}): TenantPolicy =>
  tenantPolicy({
    channels,
    apiKeys: [
      apiKey(),
      apiKey(keys.publisher, { role: 'Publisher', credential: 'publisher' }),
      apiKey(keys.scoped, { credential: 'scoped', scopes: [scope] }),
    ],
    ...changes,
  })
const beta = tenantPolicy({ name: 'beta', channels, apiKeys: [apiKey()] })

interface Gateways {
  /** Receives the requests. */
  here: TestGateway
  /** Has the clients. */
  there: TestGateway
  stop(): Promise<void>
}

async function onMemory(): Promise<Gateways> {
  const gateway = await startGateway([acme(), beta])
  return { here: gateway, there: gateway, stop: () => gateway.stop() }
}

async function onRedis(): Promise<Gateways> {
  const redis = await startRedis()
  const url = `redis://127.0.0.1:${redis.port}`
  const stores = [await openTestRevocations(url), await openTestRevocations(url)]
  const [here, there] = await Promise.all(
    stores.map(({ store }) => startGateway([acme(), beta], { revocations: store })),
  )
  if (!here || !there) throw new Error('two gateways were expected')
  return {
    here,
    there,
    async stop() {
      await Promise.all([here.stop(), there.stop()])
      await Promise.all(stores.map((store) => store.close()))
    },
  }
}

afterAll(() => endRedisProcesses())

const nowS = (): number => Math.floor(Date.now() / 1000)

describe.each([
  ['memory', onMemory],
  ['two gateways on one Redis', onRedis],
])('on %s', (_name, start) => {
  let here: TestGateway
  let there: TestGateway
  let stop: () => Promise<void>

  beforeAll(async () => {
    ;({ here, there, stop } = await start())
  })
  afterAll(() => stop())

  let users = 0
  /** A user that no other test uses. */
  const newUser = (): string => `user ${(users += 1)}`
  const call = (method: string, fields: object = {}) => apiResult(here, method, fields)
  const refused = (method: string, fields: object, key = adminKey) => apiError(here, method, fields, { key })
  const tokenOf = (user: string, claims: Record<string, unknown> = {}, tenant = 'demo/acme') =>
    there.token(user, { claims, tenant })
  const refusalOf = async (token: string, tenant = 'demo/acme') => {
    const { body, status } = await refusedUpgrade(`${chatUrl(there, tenant)}?token=${token}`)
    return { status, code: (body as { code: string }).code }
  }
  const revokedUpgrade = { status: 401, code: 'TOKEN_REVOKED' }

  describe('a revoked user', () => {
    test('is disconnected at both endpoints, and refused with new tokens too, until the revocation ends', async () => {
      const user = newUser()
      const chat = await chatAs(there, user)
      const sdk = await connectedAs(there, user)
      const other = await chatAs(there, newUser())
      const over = next(sdk, 'disconnected')
      expect(await call('revoke', { user })).toEqual({ user })
      expect(await chat.closed()).toMatchObject({ code: 4001, reason: expect.stringContaining('revoked') })
      expect(await over).toMatchObject({ code: 3500, reason: expect.stringContaining('revoked') })
      expect(await refusalOf(await tokenOf(user))).toEqual(revokedUpgrade)
      const later = sdkOf(there, user)
      const final = next(later, 'disconnected')
      later.connect()
      expect((await final).code).toBe(3500)
      await other.settle()
      expect(await call('unrevoke', { user })).toEqual({ removed: 1 })
      await expect
        .poll(async () => (await plainGet(`${chatUrl(there)}?token=${await tokenOf(user)}`)).status)
        .toBe(426)
      await chatAs(there, user)
    })

    test('of one tenant stays connected at another, and a name in other letters stays too', async () => {
      const user = newUser()
      const [elsewhere, upper, gone] = [
        await chatAs(there, user, { tenant: 'demo/beta' }),
        await chatAs(there, user.toUpperCase()),
        await chatAs(there, user),
      ]
      await call('revoke', { user })
      expect((await gone.closed()).code).toBe(4001)
      await elsewhere.settle()
      await upper.settle()
      await chatAs(there, user, { tenant: 'demo/beta' })
    })

    test('comes back by itself after expires_at, although its token lives longer', async () => {
      const user = newUser()
      const { clock } = there.gateway.context
      const chat = await chatAs(there, user)
      const expiresAt = Math.ceil(clock.epochMs() / 1000) + 1
      expect(await call('revoke', { user, expires_at: expiresAt })).toEqual({ user, expires_at: expiresAt })
      await chat.closed()
      await expect
        .poll(async () => (await plainGet(`${chatUrl(there)}?token=${await tokenOf(user)}`)).status, {
          timeout: 40_000,
        })
        .toBe(426)
    })
  })

  describe('a revoked token', () => {
    test('ends its connections, and the user continues with another token', async () => {
      const user = newUser()
      const jti = `token of ${user}`
      const token = await tokenOf(user, { jti })
      const chat = await chatAs(there, user, { claims: { jti } })
      const another = await chatAs(there, user)
      const tokens = [token]
      const sdk = await connected(
        sdkOf(there, user, { getToken: async () => tokens.shift() ?? (await tokenOf(user)) }),
      )
      const left = next(sdk, 'connecting')
      const again = next(sdk, 'connected')
      const errors = collect(sdk, 'error')
      await call('revoke', { jti, expires_at: nowS() + 3600 })
      expect((await chat.closed()).code).toBe(4001)
      expect((await left).code).toBe(3005)
      await again
      // The SDK tries the revoked token once more, and gets a new one after error 109.
      expect(errors.waiting.map(({ error }) => error.code)).toEqual([109])
      expect(await refusalOf(token)).toEqual(revokedUpgrade)
      await another.settle()
    })

    test('can be sent as itself: its id and its exp are read', async () => {
      const user = newUser()
      const token = await there.token(user, { claims: { jti: 'itself' }, expiresInS: 600 })
      const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
        exp: number
      }
      expect(await call('revoke', { token })).toEqual({ jti: 'itself', expires_at: exp })
      await expect.poll(async () => (await plainGet(`${chatUrl(there)}?token=${token}`)).status).toBe(401)
    })

    test('without exp needs expires_at, and stays revoked when it is seen after that time', async () => {
      const user = newUser()
      const claims = { jti: `endless ${user}`, exp: undefined }
      const token = await tokenOf(user, claims)
      expect((await refused('revoke', { token })).message).toContain('needs "expires_at"')
      const chat = await chatAs(there, user, { claims })
      const expiresAt = nowS() + 2
      await call('revoke', { token, expires_at: expiresAt })
      await chat.closed()
      // The gateway saw that the token outlives its revocation, and prolonged it.
      await expect
        .poll(async () => {
          const { revocations } = await call('revocations', { limit: 1000 })
          return (revocations as { jti?: string; expires_at?: number }[]).find(
            ({ jti }) => jti === claims.jti,
          )
        })
        .toEqual({ jti: claims.jti })
      expect(await refusalOf(token)).toEqual(revokedUpgrade)
    })

    test('does not end a session that was refreshed with another token since', async () => {
      const user = newUser()
      const jti = `first of ${user}`
      const gotten: string[] = []
      const sdk = await connected(
        sdkOf(there, user, {
          getToken: async () => {
            const token = await there.token(user, {
              claims: gotten.length === 0 ? { jti } : {},
              expiresInS: gotten.length === 0 ? 1 : 3600,
            })
            gotten.push(token)
            return token
          },
        }),
      )
      const left = collect(sdk, 'connecting')
      await expect.poll(() => gotten.length, { timeout: 40_000 }).toBe(2)
      await sdk.presenceStats('general').catch(() => undefined)
      await call('revoke', { jti, expires_at: nowS() + 3600 })
      await call('revoke', { jti: 'another', expires_at: nowS() + 3600 })
      await sdk.presenceStats('general').catch(() => undefined)
      expect([sdk.state, left.waiting.filter(({ code }) => code === 3005)]).toEqual(['connected', []])
    })
  })

  describe('by time of issue', () => {
    test('of one user: older tokens end, newer ones are accepted', async () => {
      const user = newUser()
      const old = await chatAs(there, user, { claims: { iat: nowS() - 100 } })
      const young = await chatAs(there, user, { claims: { iat: nowS() - 10 } })
      const other = await chatAs(there, newUser(), { claims: { iat: nowS() - 100 } })
      const sdk = await connected(
        sdkOf(there, user, {
          token: await tokenOf(user, { iat: nowS() - 100 }),
          getToken: () => tokenOf(user),
        }),
      )
      const left = next(sdk, 'connecting')
      const again = next(sdk, 'connected')
      const before = nowS() - 50
      expect(await call('revoke', { user, issued_before: before })).toEqual({ user, issued_before: before })
      expect((await old.closed()).code).toBe(4001)
      expect((await left).code).toBe(3005)
      await again
      await young.settle()
      await other.settle()
      expect(await refusalOf(await tokenOf(user, { iat: undefined }))).toEqual(revokedUpgrade)
      expect(await call('unrevoke', { user })).toEqual({ removed: 1 })
    })

    test('of the whole tenant: guests and another tenant stay', async () => {
      const user = newUser()
      const iat = nowS() - 100
      const [old, young, elsewhere, guest] = [
        await chatAs(there, user, { claims: { iat } }),
        await chatAs(there, user),
        await chatAs(there, user, { tenant: 'demo/beta', claims: { iat } }),
        await plainGet(chatUrl(there)),
      ]
      await call('revoke', { issued_before: nowS() - 50 })
      await old.closed()
      for (const client of [young, elsewhere]) await client.settle()
      expect(guest.status).toBe(426)
      expect(await refusalOf(await tokenOf(user, { iat }))).toEqual(revokedUpgrade)
      expect(await call('unrevoke', { tenant: true })).toEqual({ removed: 1 })
      expect(await call('unrevoke', { tenant: true })).toEqual({ removed: 0 })
    })
  })

  test('a guest is revoked by its id: it is refused with its guest token, and other guests stay', async () => {
    const [guest, other] = [await ChatClient.open(chatUrl(there)), await ChatClient.open(chatUrl(there))]
    const { guest_token: token, user_id: user } = await guest.next('welcome')
    await call('revoke', { user })
    expect((await guest.closed()).code).toBe(4001)
    expect(await refusalOf(String(token))).toEqual(revokedUpgrade)
    await other.settle()
    const sdk = sdkAt(centrifugeUrl(there), { token: String(token) })
    const over = next(sdk, 'disconnected')
    sdk.connect()
    expect((await over).code).toBe(3500)
  })

  test('a revoked subscription token ends its subscription, and the SDK gets another one', async () => {
    const user = newUser()
    const sdk = await connectedAs(there, user)
    const jti = `ticket of ${user}`
    const tickets = [{ channel: 'board', jti }]
    const board = await subscribed(sdk, 'board', {
      getToken: () => tokenOf(user, tickets.shift() ?? { channel: 'board' }),
    })
    const left = next(board, 'subscribing')
    const again = next(board, 'subscribed')
    await call('revoke', { jti, expires_at: nowS() + 3600 })
    expect((await left).code).toBe(2501)
    await again
    expect(sdk.state).toBe('connected')
  })

  test('revocations lists pages, and only those of the tenant', async () => {
    await apiResult(here, 'revoke', { user: 'of beta' }, { tenant: 'demo/beta' })
    for (const jti of ['p1', 'p2', 'p3']) await call('revoke', { jti, expires_at: nowS() + 3600 })
    const all: unknown[] = []
    let cursor: unknown
    do {
      const page = await call('revocations', { limit: 2, ...(cursor !== undefined && { cursor }) })
      all.push(...(page['revocations'] as unknown[]))
      cursor = page['cursor']
    } while (cursor !== undefined)
    expect(all).toEqual(
      expect.arrayContaining(
        ['p1', 'p2', 'p3'].map((jti) => ({ jti, expires_at: expect.any(Number) as number })),
      ),
    )
    expect(all).not.toContainEqual({ user: 'of beta' })
    expect(await apiResult(here, 'revocations', {}, { tenant: 'demo/beta' })).toEqual({
      revocations: [{ user: 'of beta' }],
      total: 1,
    })
  })

  describe('refused:', () => {
    const future = 4_000_000_000
    test.each<[why: string, fields: object, message: string]>([
      ['nothing named', {}, 'name what to revoke'],
      ['an empty user', { user: '' }, 'not empty'],
      // It would be the whole tenant.
      ['an empty user by time of issue', { user: '', issued_before: 1 }, 'not empty'],
      ['an empty jti beside a user', { user: 'a', jti: '' }, 'not empty'],
      ['an empty token beside a user', { user: 'a', token: '' }, 'expected a token'],
      // It would be every token of the user.
      ['a time of issue of 0', { user: 'a', issued_before: 0 }, 'after 1970'],
      // It would never end.
      ['an end of 0', { user: 'a', expires_at: 0 }, 'after 1970'],
      ['a jti without expires_at', { jti: 'a' }, 'needs "expires_at"'],
      ['two things named', { jti: 'a', user: 'b', expires_at: future }, 'omit "user"'],
      ['a token and a user', { token: 'a.b.c', user: 'b' }, 'omit "user"'],
      ['a token that is not one of the tenant', { token: 'a.b.c' }, 'TOKEN_INVALID'],
      ['a misspelt field', { user: 'b', issuedBefore: 1 }, 'issuedBefore'],
      ['a past end', { user: 'b', expires_at: 1 }, 'in the past'],
      ['a time of issue in the future', { issued_before: future }, 'in the future'],
      ['a guest by time of issue', { user: 'guest:a', issued_before: 1 }, 'guest'],
      ['a user with control characters', { user: 'a\nb' }, 'control characters'],
      ['a user that is not text', { user: 1 }, 'user'],
    ])('%s', async (_why, fields, message) => {
      expect((await refused('revoke', fields)).message).toContain(message)
    })

    test.each(['revoke', 'unrevoke', 'revocations'])(
      '%s with a key of another role or with scopes',
      async (method) => {
        for (const key of [keys.publisher, keys.scoped])
          expect((await refused(method, { user: 'ann' }, key)).message).toContain('PERMISSION_DENIED')
      },
    )

    test('unrevoke of nothing, or of two things', async () => {
      expect((await refused('unrevoke', {})).message).toContain('name one of')
      expect((await refused('unrevoke', { user: 'a', jti: 'b' })).message).toContain('and only one')
    })
  })
})

describe('the revocations of a policy', () => {
  test('end live connections when they are applied, and refuse new ones until they are removed', async () => {
    const gateway = await startGateway([acme(), beta])
    try {
      const [ann, bob, eve, old] = [
        await chatAs(gateway, 'ann'),
        await chatAs(gateway, 'bob', { claims: { jti: 'leaked' } }),
        await chatAs(gateway, 'eve'),
        await chatAs(gateway, 'eve', { claims: { iat: nowS() - 100 } }),
      ]
      gateway.catalog.put(
        acme({
          revocations: [{ user: 'ann' }, { jti: 'leaked' }],
          tokensIssuedBeforeMs: Date.now() - 50_000,
        }),
      )
      for (const gone of [ann, bob, old]) expect((await gone.closed()).code).toBe(4001)
      await eve.settle()
      const url = `${chatUrl(gateway)}?token=${await gateway.token('ann')}`
      expect((await refusedUpgrade(url)).body).toMatchObject({ code: 'TOKEN_REVOKED' })
      gateway.catalog.put(acme())
      await chatAs(gateway, 'ann')
    } finally {
      await gateway.stop()
    }
  })

  test('are counted by the metrics of the tenant', async () => {
    const gateway = await startGateway([acme({ revocations: [{ user: 'ann' }] })])
    try {
      await apiResult(gateway, 'revoke', { user: 'bob' })
      await refusedUpgrade(`${chatUrl(gateway)}?token=${await gateway.token('bob')}`)
      const text = await gateway.gateway.tenantMetrics.registry.metrics()
      expect(text).toContain('parley_tenant_revocations{tenant="demo/acme"} 2')
      expect(text).toContain('parley_tenant_refusals_total{tenant="demo/acme",code="TOKEN_REVOKED"} 1')
    } finally {
      await gateway.stop()
    }
  })
})
