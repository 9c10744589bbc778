// Connections whose clients are not authenticated: how many one address and all together may have.
import { connect, type Socket } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import { adminKey, apiKey } from '../support/api-client.js'
import { allOperations, allow, rule, tenantPolicy } from '../support/policies.js'
import type { RawClient } from '../support/raw-client.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'
import { centrifugePath, chatPath, upgradeRequest } from '../support/raw-http.js'
import { deadlineMs } from '../support/waiting.js'

const limits = { max: 12, perAddress: 5 }
const guests = rule('lobby', {
  grants: [allow(allOperations, [{ anonymous: true }, { authenticated: true }])],
})
const target = targetGateway(
  [tenantPolicy({ apiKeys: [apiKey()] }), tenantPolicy({ name: 'guests', channels: [guests] })],
  { unauthenticatedLimits: limits },
  {
    trustedProxies: ['127.9.0.0/16'],
    timing: { headersTimeoutMs: 60_000, handshakeTimeoutMs: 60_000, keepAliveTimeoutMs: 60_000 },
  },
)

const sockets = () => target.running.gateway.unauthenticatedSockets

async function untilHeld(total: number): Promise<void> {
  await vi.waitFor(() => expect(sockets().total).toBe(total), deadlineMs)
}

async function from(localAddress: string): Promise<RawClient> {
  return target.connect({ localAddress })
}

/** Opens connections that send nothing. Returns those that stay open. */
async function hold(count: number, localAddress: string): Promise<Socket[]> {
  const before = sockets().total
  const opened = Array.from({ length: count }, () => {
    const socket = connect({ port: target.running.port, host: '127.0.0.1', localAddress })
    socket.on('error', () => {})
    return socket
  })
  await Promise.all(
    opened.map((socket) => new Promise((resolve) => void socket.on('connect', resolve).on('close', resolve))),
  )
  await vi.waitFor(
    () => expect(opened.filter(({ destroyed }) => !destroyed)).toHaveLength(sockets().total - before),
    deadlineMs,
  )
  return opened.filter(({ destroyed }) => !destroyed)
}

async function release(held: readonly Socket[]): Promise<void> {
  for (const socket of held) socket.destroy()
  await untilHeld(0)
}

async function cuts(reason: string): Promise<number> {
  const { values } = await target.running.gateway.metrics.cutConnections.get()
  return values.find(({ labels }) => labels.reason === reason)?.value ?? 0
}

describe('connections that send nothing', () => {
  test('are cut above the limit of their address, and the older ones stay', async () => {
    const held = await hold(9, '127.1.0.1')
    expect(held).toHaveLength(limits.perAddress)
    expect(await cuts('unauthenticated_per_address')).toBe(4)
    const other = await from('127.1.0.2')
    other.write('GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(await other.answer()).toMatchObject({ status: 404 })
    expect(held.every(({ destroyed }) => !destroyed)).toBe(true)
    other.destroy()
    await release(held)
    const again = await hold(5, '127.1.0.1')
    expect(again).toHaveLength(5)
    await release(again)
  })

  test('are cut above the limit of the gateway', async () => {
    const held: Socket[] = []
    for (const address of ['127.2.0.1', '127.2.0.2', '127.2.0.3']) held.push(...(await hold(4, address)))
    expect(sockets().total).toBe(limits.max)
    expect(await hold(1, '127.2.0.4')).toHaveLength(0)
    expect(await cuts('unauthenticated_max')).toBe(1)
    const metrics = await target.running.gateway.metrics.registry.metrics()
    expect(metrics).toContain(`parley_gateway_unauthenticated_connections ${limits.max}\n`)
    expect(metrics).toContain('parley_gateway_unauthenticated_connections_of_one_address 4\n')
    await release(held)
  })
})

describe('connections of known clients do not count', () => {
  test('at the chat endpoint', async () => {
    for (let n = 0; n < 8; n += 1) {
      const client = await from('127.3.0.1')
      client.write(upgradeRequest({ target: `${chatPath}?token=${await target.running.token(`user-${n}`)}` }))
      expect(await client.answer()).toMatchObject({ status: 101 })
      await client.json()
    }
    expect([sockets().total, sockets().largest]).toEqual([0, 0])
  })

  test('of guests neither', async () => {
    for (let n = 0; n < 8; n += 1) {
      const client = await from('127.3.0.2')
      client.write(upgradeRequest({ target: '/demo/guests/ws' }))
      expect(await client.answer()).toMatchObject({ status: 101 })
      await client.json()
    }
    expect(sockets().total).toBe(0)
  })

  test('at the Centrifuge endpoint, from the connect command on', async () => {
    const clients: RawClient[] = []
    for (let n = 0; n < 5; n += 1) {
      const client = await from('127.3.0.3')
      client.write(upgradeRequest({ target: centrifugePath }))
      expect(await client.answer()).toMatchObject({ status: 101 })
      clients.push(client)
    }
    expect(sockets().total).toBe(5)
    expect(await hold(1, '127.3.0.3')).toHaveLength(0)
    for (const client of clients) {
      client.send({ id: 1, connect: { token: await target.running.token('alice') } })
      expect(await client.json()).toMatchObject({ id: 1, connect: {} })
    }
    expect([sockets().total, sockets().largest]).toEqual([0, 0])
  })

  test('of backends, from their first valid key on', async () => {
    const call = (key: string): string =>
      `POST /demo/acme/api/info HTTP/1.1\r\nHost: a\r\nX-API-Key: ${key}\r\nContent-Length: 2\r\n\r\n{}`
    const [known, unknown] = [await from('127.3.0.4'), await from('127.3.0.4')]
    known.write(call(adminKey))
    unknown.write(call('wrong'))
    expect(await known.answer()).toMatchObject({ status: 200 })
    expect(await unknown.answer()).toMatchObject({ status: 401 })
    expect(sockets().total).toBe(1)
    known.write(call('wrong'))
    expect(await known.answer()).toMatchObject({ status: 401 })
    known.destroy()
    unknown.destroy()
    await untilHeld(0)
  })

  test('a refused handshake counts until its connection is closed', async () => {
    const client = await from('127.3.0.5')
    client.write(upgradeRequest({ target: `${chatPath}?token=nonsense` }))
    expectRefusal(await client.answer(), { status: 401, code: 'TOKEN_INVALID' })
    await client.end()
    client.destroy()
    await untilHeld(0)
  })
})

describe('connections of a trusted proxy', () => {
  const request = (client: string): string =>
    upgradeRequest({ target: centrifugePath, headers: { 'X-Forwarded-For': client } })

  test('count for the client of their request', async () => {
    const clients: RawClient[] = []
    for (let n = 0; n < 5; n += 1) {
      const client = await from('127.9.0.1')
      client.write(request('203.0.113.1'))
      expect(await client.answer()).toMatchObject({ status: 101 })
      clients.push(client)
    }
    const [sixth, other] = [await from('127.9.0.1'), await from('127.9.0.1')]
    sixth.write(request('203.0.113.1'))
    const answer = await sixth.answer()
    expectRefusal(answer, { status: 429, code: 'ADDRESS_LIMIT' })
    expect(answer.headers['retry-after']).toBe('5')
    other.write(request('203.0.113.2'))
    expect(await other.answer()).toMatchObject({ status: 101 })
    for (const client of [...clients, sixth, other]) client.destroy()
    await untilHeld(0)
    expect(sockets().largest).toBe(0)
  })

  test('that wait for a request count only for the gateway', async () => {
    const held = await hold(8, '127.9.0.1')
    expect([held.length, sockets().largest]).toEqual([8, 0])
    const client = await from('127.9.0.1')
    for (const address of ['203.0.113.1', '203.0.113.2']) {
      client.write(`GET /nothing HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${address}\r\n\r\n`)
      expect(await client.answer()).toMatchObject({ status: 404 })
    }
    await vi.waitFor(() => expect(sockets().largest).toBe(0), deadlineMs)
    client.destroy()
    await release(held)
  })
})
