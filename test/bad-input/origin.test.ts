// Foreign pages: the Origin header of a browser is compared as an origin, never as a text that contains
// another.
import { describe, expect, test } from 'vitest'
import { tenantPolicy } from '../support/policies.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'

const target = targetGateway([
  tenantPolicy({
    allowedOrigins: ['https://example.com', 'https://*.apps.example.com', 'https://bücher.example'],
  }),
  tenantPolicy({ name: 'other', allowedOrigins: ['https://other.example'] }),
  tenantPolicy({ name: 'open', allowedOrigins: ['*'] }),
  tenantPolicy({ name: 'closed' }),
])

async function statusFor(origin: string | undefined, name = 'acme', path = 'ws'): Promise<number> {
  const answer = await target.request({
    target: `/demo/${name}/${path}?token=${await target.running.token('alice', { tenant: `demo/${name}` })}`,
    headers: { Origin: origin },
  })
  if (answer.status !== 101) expectRefusal(answer, { status: 403, code: 'ORIGIN_NOT_ALLOWED' })
  return answer.status
}

describe.each(['ws', 'connection/websocket'])('at …/%s', (path) => {
  test.each([
    undefined,
    'https://example.com',
    'https://EXAMPLE.com',
    'HTTPS://example.com',
    'https://example.com:443',
    'https://a.apps.example.com',
    'https://a.b.apps.example.com',
    'https://xn--bcher-kva.example',
    // A page of the same host needs no entry in the list.
    'https://chat.example.com',
  ])('%s may connect', async (origin) => {
    expect(await statusFor(origin, 'acme', path)).toBe(101)
  })

  test.each([
    '',
    'null',
    'https://evil-example.com',
    'https://example.com.evil.example',
    'https://evil.example/?https://example.com',
    'https://evil.example#example.com',
    'https://example.com@evil.example',
    'https://example.com:8443',
    'https://example.com:0443x',
    'http://example.com',
    'ws://example.com',
    'https://apps.example.com',
    'https://evilapps.example.com',
    'https://xn--exmple-cua.com',
    Buffer.from('https://ex\u0430mple.com').toString('latin1'),
    'https://example.com.',
    'https://example.com/',
    'https://example.com https://evil.example',
    'https://evil.example, https://example.com',
    'https://[::1]',
    'https://127.0.0.1',
    'file://',
    'chrome-extension://example.com',
    'https://',
    '//example.com',
    'example.com',
    '*',
    'https://*',
    'https://*.apps.example.com',
    'https://other.example',
    'javascript:alert(1)',
    'x'.repeat(8_000),
  ])('%.60s may not', async (origin) => {
    expect(await statusFor(origin, 'acme', path)).toBe(403)
  })
})

test('each tenant has its own list', async () => {
  expect(await statusFor('https://other.example', 'other')).toBe(101)
  expect(await statusFor('https://example.com', 'other')).toBe(403)
  expect(await statusFor('https://example.com', 'closed')).toBe(403)
})

test('a star allows every page, a sandboxed one too', async () => {
  for (const origin of ['null', 'https://anything.example', 'file://'])
    expect(await statusFor(origin, 'open')).toBe(101)
})

test('two Origin headers are refused', async () => {
  const lines = ['Origin: https://example.com', 'Origin: https://evil.example']
  expectRefusal(await target.request({ lines }), { status: 400, code: 'BAD_REQUEST' })
})

test('a plain GET gets the same result', async () => {
  const headers = { Upgrade: undefined, Connection: undefined, Origin: 'https://evil.example' }
  expectRefusal(await target.request({ headers }), { status: 403, code: 'ORIGIN_NOT_ALLOWED' })
})
