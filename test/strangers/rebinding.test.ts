// DNS rebinding: a page of any site reaches the gateway under the site's own name. Such a page has no token,
// and may not connect as a guest.
import { describe, expect, test } from 'vitest'
import { allOperations, allow, rule, tenantPolicy } from '../support/policies.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'

const guests = rule('lobby', {
  grants: [allow(allOperations, [{ anonymous: true }, { authenticated: true }])],
})
const channels = [guests, rule('general')]
const target = targetGateway(
  [
    tenantPolicy({ channels, allowedOrigins: ['https://app.example.com'] }),
    tenantPolicy({ name: 'open', channels, allowedOrigins: ['*'] }),
  ],
  {},
  { publicHosts: ['chat.example.com', '*.apps.example.com'] },
)

interface Page {
  readonly host: string
  readonly origin?: string
  readonly tenant?: string
  readonly token?: string
}

/** The status and the code of a connect at the chat endpoint, by upgrade and by plain GET. */
async function atChat({ host, origin, tenant = 'acme', token }: Page): Promise<string> {
  const query = token === undefined ? '' : `?token=${token}`
  const answer = await target.request({
    target: `/demo/${tenant}/ws${query}`,
    headers: { Host: host, Origin: origin },
  })
  const plain = { Upgrade: undefined, Connection: undefined }
  const check = await target.request({
    target: `/demo/${tenant}/ws${query}`,
    headers: { Host: host, Origin: origin, ...plain },
  })
  if (answer.status === 101) {
    expect(check).toMatchObject({ status: 426 })
    return 'connected'
  }
  expectRefusal(answer, { status: 403, code: 'ORIGIN_NOT_ALLOWED' })
  expectRefusal(check, { status: 403, code: 'ORIGIN_NOT_ALLOWED' })
  return 'refused'
}

/** The same at the Centrifuge endpoint, where the connect command has the token. */
async function atCentrifuge({ host, origin, tenant = 'acme', token }: Page): Promise<string> {
  const client = await target.upgrade({
    target: `/demo/${tenant}/connection/websocket`,
    headers: { Host: host, Origin: origin },
  })
  client.send({ id: 1, connect: token === undefined ? {} : { token } })
  const { connect, error } = await client.json()
  client.destroy()
  if (connect) return 'connected'
  expect(error).toMatchObject({
    code: 103,
    message: expect.stringContaining('ORIGIN_NOT_ALLOWED') as string,
  })
  return 'refused'
}

describe.each([
  ['chat', atChat],
  ['Centrifuge', atCentrifuge],
])('at the %s endpoint, a guest', (_endpoint, connect) => {
  test.each([
    'evil.example',
    'evil.example:8000',
    'chat.example.com.evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'apps.example.com',
  ])('of a page of %s, which resolves to the gateway, is refused', async (host) => {
    expect(await connect({ host, origin: `http://${host}` })).toBe('refused')
    expect(await connect({ host, origin: `https://${host}` })).toBe('refused')
  })

  test.each([
    'chat.example.com',
    'chat.example.com:8443',
    'a.apps.example.com',
    'localhost:8000',
    '127.0.0.1:8000',
    '[::1]:8000',
    '192.168.1.7',
  ])('of a page of %s may connect', async (host) => {
    expect(await connect({ host, origin: `http://${host}` })).toBe('connected')
  })

  test('that is no browser may use any host', async () => {
    expect(await connect({ host: 'evil.example' })).toBe('connected')
  })

  test('of an allowed origin may use any host', async () => {
    expect(await connect({ host: 'any.example', origin: 'https://app.example.com' })).toBe('connected')
    expect(await connect({ host: 'evil.example', origin: 'http://evil.example', tenant: 'open' })).toBe(
      'connected',
    )
  })

  test('is refused where a user with a token may connect', async () => {
    const token = await target.running.token('alice')
    expect(await connect({ host: 'evil.example', origin: 'http://evil.example', token })).toBe('connected')
  })
})
