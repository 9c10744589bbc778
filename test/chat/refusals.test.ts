// Refusals before the upgrade: status, JSON body and Retry-After. A plain GET, which browsers can read, gets
// the same answer.
import { describe, expect, test } from 'vitest'
import { centrifugeUrl, gatewayFor } from '../support/centrifuge-sdk.js'
import {
  chatAs,
  chatUrl,
  leave,
  plainGet,
  refusedUpgrade,
  type ChatOptions,
  type Refusal,
} from '../support/chat-client.js'
import { MovableClock } from '../support/clock.js'
import type { TestGateway } from '../support/gateway.js'
import { generousLimits, tenantPolicy } from '../support/policies.js'
import type { GatewayOptions } from '../../src/gateway/gateway.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'

interface Case {
  readonly policy?: Partial<TenantPolicy>
  readonly options?: Partial<GatewayOptions>
  readonly headers?: Record<string, string>
  before?(gateway: TestGateway): Promise<void> | void
  /** Default: the chat endpoint of demo/acme with a valid token. */
  url?(gateway: TestGateway): Promise<string> | string
  readonly status: number
  readonly code: string
  readonly retryAfter?: string
}

const validUrl = async (gateway: TestGateway): Promise<string> =>
  `${chatUrl(gateway)}?token=${await gateway.token('ann')}`

const connections = (changes: Partial<(typeof generousLimits)['connections']>) => ({
  limits: { ...generousLimits, connections: { ...generousLimits.connections, ...changes } },
})

const cases: Record<string, Case> = {
  'no token': { url: (gateway) => chatUrl(gateway), status: 401, code: 'UNAUTHORIZED' },
  'a malformed token': {
    url: (gateway) => `${chatUrl(gateway)}?token=nonsense`,
    status: 401,
    code: 'TOKEN_INVALID',
  },
  'a token of another tenant': {
    url: async (gateway) => {
      gateway.catalog.put(otherTenant)
      return `${chatUrl(gateway)}?token=${await gateway.token('ann', { tenant: 'demo/globex' })}`
    },
    status: 401,
    code: 'TOKEN_INVALID',
  },
  'an expired token': {
    url: async (gateway) => `${chatUrl(gateway)}?token=${await gateway.token('ann', { expiresInS: -3600 })}`,
    status: 401,
    code: 'TOKEN_EXPIRED',
  },
  'an Authorization header of another scheme': {
    headers: { authorization: 'Basic YTpi' },
    status: 401,
    code: 'UNAUTHORIZED',
  },
  'a foreign Origin': {
    headers: { origin: 'https://evil.example' },
    status: 403,
    code: 'ORIGIN_NOT_ALLOWED',
  },
  'a suspended tenant': { policy: { suspended: true }, status: 403, code: 'TENANT_SUSPENDED' },
  'an unknown tenant': {
    url: (gateway) => chatUrl(gateway, 'demo/nobody'),
    status: 404,
    code: 'NOT_FOUND',
  },
  'an unknown path': {
    url: (gateway) => `${gateway.ws}/demo/acme/socket`,
    status: 404,
    code: 'NOT_FOUND',
  },
  'a full tenant': {
    policy: connections({ max: 1 }),
    before: async (gateway) => void (await chatAs(gateway, 'bob')),
    status: 429,
    code: 'CONNECTION_LIMIT',
    retryAfter: '5',
  },
  'a user with all its connections': {
    policy: connections({ perUser: 1 }),
    before: async (gateway) => void (await chatAs(gateway, 'ann')),
    status: 429,
    code: 'CONNECTION_LIMIT',
    retryAfter: '5',
  },
  'a full gateway': {
    options: { sessionsMax: 0 },
    status: 503,
    code: 'OVERLOADED',
    retryAfter: '5',
  },
  'a draining gateway': {
    before: ({ gateway }) => gateway.startDraining(),
    status: 503,
    code: 'DRAINING',
    retryAfter: '1',
  },
  'a client id with other characters': {
    url: async (gateway) => `${chatUrl(gateway)}/a%20b?token=${await gateway.token('ann')}`,
    status: 400,
    code: 'BAD_REQUEST',
  },
  'two client ids': {
    url: async (gateway) => `${chatUrl(gateway)}/a?client_id=b&token=${await gateway.token('ann')}`,
    status: 400,
    code: 'BAD_REQUEST',
  },
}

const otherSecret = Buffer.from('of another tenant, and also long enough for HS512 to accept it.').toString(
  'base64',
)
const otherTenant = tenantPolicy({
  name: 'globex',
  issuers: tenantPolicy().issuers.map((issuer) => ({
    ...issuer,
    key: { type: 'SharedKey', secret: otherSecret, sample: false },
  })),
})

async function refusal(
  { policy = {}, options = {}, before, url = validUrl }: Case,
  ask: (url: string) => Promise<Refusal>,
): Promise<Refusal> {
  const gateway = await gatewayFor(policy, options)
  await before?.(gateway)
  return ask(await url(gateway))
}

describe.each(Object.entries(cases))('%s', (_what, refused) => {
  const { code, headers = {}, retryAfter, status } = refused

  test(`refuses the upgrade with ${status} ${code}`, async () => {
    const options: ChatOptions = { options: { headers } }
    const answer = await refusal(refused, (url) => refusedUpgrade(url, options))
    expect(answer).toMatchObject({ status, body: { code, message: expect.stringMatching(/./) as string } })
    expect(answer.headers['content-type']).toMatch(/^application\/json/)
    expect(answer.headers['retry-after']).toBe(retryAfter)
  })

  test(`answers a plain GET with ${status} ${code}`, async () => {
    const answer = await refusal(refused, (url) => plainGet(url, headers))
    expect(answer).toMatchObject({ status, body: { code, message: expect.stringMatching(/./) as string } })
    expect(answer.headers['retry-after']).toBe(retryAfter)
  })
})

test('connects over the tenant’s rate are refused with 429 and a retry time', async () => {
  const gateway = await gatewayFor(connections({ connectsPerSecond: 1 }))
  await chatAs(gateway, 'bob')
  const { body, headers, status } = await refusedUpgrade(await validUrl(gateway))
  expect({ body, status, wait: headers['retry-after'] }).toMatchObject({
    body: { code: 'QUOTA_EXCEEDED' },
    status: 429,
    wait: '1',
  })
})

describe('handshakes over the gateway’s rate', () => {
  /**
   * A gateway that allows one handshake a second has had three. The clock does not advance, and the random
   * delay is 0.
   */
  async function busyGateway(): Promise<TestGateway> {
    const gateway = await gatewayFor(
      {},
      { clock: new MovableClock(), random: () => 0 },
      { handshakeRates: { perSecond: 1 } },
    )
    await chatAs(gateway, 'bob')
    for (let attempt = 0; attempt < 2; attempt += 1) await chatAs(gateway, 'bob')
    return gateway
  }
  const overloaded = (wait: string) => ({
    status: 503,
    headers: { 'retry-after': wait },
    body: { code: 'OVERLOADED' },
  })

  test('are refused with 503, each with a later retry time than the one before', async () => {
    const gateway = await busyGateway()
    expect(await refusedUpgrade(await validUrl(gateway))).toMatchObject(overloaded('1'))
    expect(await refusedUpgrade(centrifugeUrl(gateway))).toMatchObject(overloaded('2'))
    // A plain GET is no handshake.
    expect(await plainGet(await validUrl(gateway))).toMatchObject({ status: 426 })
    const metrics = await gateway.gateway.metrics.registry.metrics()
    expect(metrics).toContain('parley_handshake_refusals_total{endpoint="chat",code="OVERLOADED"} 1')
    expect(metrics).toContain('parley_handshake_refusals_total{endpoint="centrifuge",code="OVERLOADED"} 1')
  })

  test('are refused before their tokens are verified', async () => {
    const gateway = await busyGateway()
    expect(await refusedUpgrade(`${chatUrl(gateway)}?token=nonsense`)).toMatchObject(overloaded('1'))
  })

  test('do not count when they are refused for another reason', async () => {
    const gateway = await busyGateway()
    expect(await refusedUpgrade(chatUrl(gateway, 'demo/nobody'))).toMatchObject({ status: 404 })
    expect(await refusedUpgrade(await validUrl(gateway))).toMatchObject(overloaded('1'))
  })
})

describe('a plain GET', () => {
  test('of a valid request is answered with 426', async () => {
    const gateway = await gatewayFor()
    const { body, headers, status } = await plainGet(await validUrl(gateway))
    expect({ body, status, upgrade: headers['upgrade'] }).toMatchObject({
      body: { code: 'UPGRADE_REQUIRED' },
      status: 426,
      upgrade: 'websocket',
    })
  })

  test('reserves no connection', async () => {
    const gateway = await gatewayFor(connections({ max: 1 }))
    await plainGet(await validUrl(gateway))
    expect(await chatAs(gateway, 'ann')).toBeDefined()
  })
})

test('a refused connection is not counted', async () => {
  const gateway = await gatewayFor(connections({ max: 1 }))
  const bob = await chatAs(gateway, 'bob')
  await refusedUpgrade(await validUrl(gateway))
  await leave(bob, gateway)
  expect(await chatAs(gateway, 'ann')).toBeDefined()
})
