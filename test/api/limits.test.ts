// The limits of the server API: the rate of calls, the size of responses, and the turns of requests.
import { afterEach, describe, expect, test } from 'vitest'
import { adminKey, apiKey, apiResult, callApi } from '../support/api-client.js'
import { MovableClock } from '../support/clock.js'
import { startGateway, type TestGateway } from '../support/gateway.js'
import { generousLimits, rule, tenantPolicy } from '../support/policies.js'
import type { Limits } from '../../src/tenant/policy.js'

let gateway: TestGateway | undefined

afterEach(async () => gateway?.stop())

async function start(changes: {
  api?: Limits['api']
  messages?: Partial<Limits['messages']>
}): Promise<TestGateway> {
  const limits = {
    ...generousLimits,
    api: changes.api ?? generousLimits.api,
    messages: { ...generousLimits.messages, ...changes.messages },
  }
  gateway = await startGateway([tenantPolicy({ apiKeys: [apiKey()], limits, channels: [rule('room:*')] })], {
    clock: new MovableClock(),
  })
  return gateway
}

const quotaError = (text: string): unknown => ({
  code: 111,
  message: expect.stringContaining(`QUOTA_EXCEEDED: ${text}`) as string,
})

describe('the rate of API requests', () => {
  test('counts each call, and its refusal says when to call again', async () => {
    const on = await start({ api: { requestsPerSecond: 2 } })
    await apiResult(on, 'presence_stats', { channel: 'room:1' })
    await apiResult(on, 'presence_stats', { channel: 'room:1' })
    const { body, headers } = await callApi(on, 'presence_stats', { channel: 'room:1' })
    expect(body['error']).toEqual(
      quotaError('Cannot call presence_stats: the tenant’s 2 API requests per second are used'),
    )
    expect(headers.get('retry-after')).toBe('1')
  })

  test('counts each command of a batch', async () => {
    const on = await start({ api: { requestsPerSecond: 3 } })
    const commands = Array.from({ length: 5 }, () => ({ presence_stats: { channel: 'room:1' } }))
    const { body } = await callApi(on, 'batch', { commands })
    const replies = body['replies'] as Record<string, unknown>[]
    expect(replies.map((reply) => Object.keys(reply)[0])).toEqual([
      ...Array.from({ length: 3 }, () => 'presence_stats'),
      'error',
      'error',
    ])
  })

  test.each([
    ['a broadcast to many channels', 'broadcast', { channels: rooms(100), data: 1 }],
    ['a survey of the gateways', 'channels', {}],
    ['a survey of the gateways', 'info', {}],
  ])('%s counts as several', async (_what, method, fields) => {
    const on = await start({ api: { requestsPerSecond: 2 } })
    await apiResult(on, method, fields)
    const { body, headers } = await callApi(on, 'presence_stats', { channel: 'room:1' })
    expect(body).toHaveProperty('error')
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(2)
  })
})

function rooms(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `room:${n}`)
}

test('reads of the API are charged like reads of clients', async () => {
  const on = await start({ messages: { readsPerSecond: 1 } })
  // The burst is five seconds of the rate.
  for (let n = 0; n < 5; n += 1) await apiResult(on, 'history', { channel: 'room:1' })
  for (const method of ['history', 'presence', 'presence_stats']) {
    const { body } = await callApi(on, method, { channel: 'room:1' })
    expect(body['error']).toMatchObject({
      message: expect.stringMatching(/Cannot read the (history|presence) of "room:1".* 1 reads/) as string,
    })
  }
})

test.each([true, false])(
  'the results of a batch are bounded, and the rest can be read (parallel: %s)',
  async (parallel) => {
    const on = await start({})
    const data = 'x'.repeat(30_000)
    for (let n = 0; n < 40; n += 1) await apiResult(on, 'publish', { channel: 'room:1', data })
    const commands = Array.from({ length: 20 }, () => ({ history: { channel: 'room:1', limit: -1 } }))
    const { body } = await callApi(on, 'batch', { commands, parallel })
    const replies = body['replies'] as {
      history?: { publications: unknown[] }
      error?: { message: string }
    }[]
    expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThan(4_300_000)
    const read = replies.filter(({ history }) => (history?.publications.length ?? 0) > 30)
    expect(read.length).toBeGreaterThanOrEqual(3)
    expect(replies.at(-1)?.error?.message).toMatch(/read the rest with another request/)
    expect(replies).toHaveLength(20)
    await apiResult(on, 'history', { channel: 'room:1', limit: -1 })
  },
)

test('a page of large publications is whole: every part follows the one before', async () => {
  const on = await start({})
  for (let n = 0; n < 200; n += 1)
    await apiResult(on, 'publish', { channel: 'room:1', data: { n, text: 'x'.repeat(1_000) } })
  const readAll = async (fields: object): Promise<number[]> => {
    const { publications } = await apiResult(on, 'history', { channel: 'room:1', limit: -1, ...fields })
    return (publications as { data: { n: number } }[]).map((publication) => publication.data.n)
  }
  const all = Array.from({ length: 200 }, (_, n) => n)
  expect(await readAll({})).toEqual(all)
  expect(await readAll({ reverse: true })).toEqual(all.toReversed())
  expect(await readAll({ limit: 70 })).toEqual(all.slice(0, 70))
})

test('one presence answer is bounded in bytes, and presence_stats has the total', async () => {
  const on = await start({})
  const ref = { tenantId: on.catalog.get('demo/acme')?.tenantId ?? '', channel: 'room:1' }
  const info = Buffer.from(JSON.stringify('i'.repeat(1_000)))
  for (let n = 0; n < 900; n += 1)
    await on.gateway.context.presence.add(ref, `session-${n}`, {
      user: `user-${n}`,
      client: `client-${n}`,
      info,
    })
  const { body } = await callApi(on, 'presence', { channel: 'room:1' })
  expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThan(540_000)
  expect(await apiResult(on, 'presence_stats', { channel: 'room:1' })).toEqual({
    num_clients: 900,
    num_users: 900,
  })
})

test('the info of a refresh has at most 1 KiB', async () => {
  const on = await start({})
  const { body } = await callApi(on, 'refresh', { user: 'ann', info: 'x'.repeat(1_023) })
  expect(body['error']).toEqual({
    code: 107,
    message: 'BAD_REQUEST: info has 1025 bytes, and at most 1024 are allowed',
  })
  await apiResult(on, 'refresh', { user: 'ann', info: 'x'.repeat(1_022) })
})

test('a backend that does not read its responses holds only its own turns', async () => {
  gateway = await startGateway([
    tenantPolicy({ apiKeys: [apiKey()], limits: generousLimits, channels: [rule('room:*')] }),
    tenantPolicy({ name: 'beta', apiKeys: [apiKey()], limits: generousLimits, channels: [rule('room:*')] }),
  ])
  const on = gateway
  const heldBytes = (): number => on.gateway.context.memory.bytes
  const data = 'x'.repeat(30_000)
  for (let n = 0; n < 40; n += 1) await apiResult(on, 'publish', { channel: 'room:1', data })
  const body = JSON.stringify({
    commands: Array.from({ length: 100 }, () => ({ history: { channel: 'room:1', limit: -1 } })),
  })
  const { connect } = await import('node:net')
  const sockets = Array.from({ length: 40 }, () => {
    const socket = connect(on.port, '127.0.0.1')
    socket.pause()
    socket.on('error', () => {})
    socket.write(
      `POST /demo/acme/api/batch HTTP/1.1\r\nhost: a\r\nx-api-key: ${adminKey}\r\n` +
        `content-length: ${body.length}\r\n\r\n${body}`,
    )
    return socket
  })
  try {
    for (let n = 0; n < 20; n += 1) {
      const stats = await apiResult(on, 'presence_stats', { channel: 'room:1' }, { tenant: 'demo/beta' })
      expect(stats).toEqual({ num_clients: 0, num_users: 0 })
    }
    // What is not read counts for the memory ceiling of the gateway until its socket is closed.
    await expect.poll(heldBytes, { timeout: 30_000 }).toBeGreaterThan(1_000_000)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
  await expect.poll(heldBytes, { timeout: 30_000 }).toBe(0)
})
