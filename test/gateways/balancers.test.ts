// The configurations of examples/, in real HAProxy and nginx processes with TLS, in front of two real
// gateways. Tests what docs/balancers.md promises.
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { State, type Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { defaultSessionLimits } from '../../src/session/context.js'
import {
  BalancerProcess,
  exampleOf,
  type BalancerName,
  type GatewayAddress,
} from '../support/balancer-process.js'
import { connected, connectedAs, dataOf, sdkAt, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, joined, type ChatClient } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import {
  defaultRules,
  GatewayProcess,
  ManifestFolder,
  openRule,
  tokenFor,
} from '../support/gateway-process.js'
import { publishContinuously } from '../support/publishing.js'
import { endRedisProcesses, freePort, startRedis, until } from '../support/redis-processes.js'
import { within } from '../support/waiting.js'

const names = ['haproxy', 'nginx'] as const
/** Longer than what the tests do during a drain. */
const drainWindowSeconds = 30

let manifests: ManifestFolder
let addresses: [GatewayAddress, GatewayAddress]
/** In the order of `addresses`. */
const gateways: GatewayProcess[] = []
let startAt: (address: GatewayAddress) => Promise<GatewayProcess>

beforeAll(async () => {
  const redis = await startRedis()
  manifests = await ManifestFolder.make([...defaultRules, ...names.map((name) => openRule(name))])
  addresses = [await freeAddress(), await freeAddress()]
  startAt = ({ opsPort, port }) =>
    GatewayProcess.start({
      redis: `redis://127.0.0.1:${redis.port}`,
      args: [
        ...['--tenants', manifests.path, '--drain-window', String(drainWindowSeconds)],
        ...['--port', String(port), '--ops-port', String(opsPort)],
      ],
    })
  gateways.push(...(await Promise.all(addresses.map(startAt))))
})
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

/** Restarts a gateway that a failed test left stopped, so that the other tests do not fail because of it. */
beforeEach(async () => {
  for (const [index, address] of addresses.entries()) {
    const readiness = await gateways[index]?.ops('/readyz').catch(() => undefined)
    if (readiness?.status === 200) continue
    await gateways[index]?.kill()
    gateways[index] = await startAt(address)
  }
})

async function freeAddress(): Promise<GatewayAddress> {
  return { port: await freePort(), opsPort: await freePort() }
}

const chatThrough = async (balancer: BalancerProcess, user: string): Promise<ChatClient> =>
  chatAs(balancer, user, { options: { ca: balancer.ca } })

async function sdkThrough(balancer: BalancerProcess, user: string): Promise<Centrifuge> {
  class Trusting extends WebSocket {
    constructor(url: string, protocols?: string | string[]) {
      super(url, protocols, { ca: balancer.ca })
    }
  }
  const url = `${balancer.ws}/demo/acme/connection/websocket`
  return connected(sdkAt(url, { websocket: Trusting, getToken: () => tokenFor(user) }))
}

async function connectionsOf(gateway: GatewayProcess | undefined): Promise<number> {
  return Number((await gateway?.ops('/stats'))?.body['connections'])
}

/** Resolves when new clients reach the gateway through the balancer. */
async function untilReached(balancer: BalancerProcess, gateway: GatewayProcess): Promise<void> {
  const options = { ca: balancer.ca }
  const url = `${balancer.ws}/demo/acme/ws?token=${await tokenFor('returner')}`
  await until(
    'a new client at the restarted gateway',
    async () => {
      const socket = new WebSocket(url, options)
      await within('opening', once(socket, 'open'))
      const reached = (await connectionsOf(gateway)) > 0
      socket.terminate()
      return reached
    },
    { everyMs: 200, deadlineMs: 25_000 },
  )
}

describe.each(names)('%s', (name) => {
  let balancer: BalancerProcess
  beforeAll(async () => {
    balancer = await BalancerProcess.start(name, { gateways: addresses })
    return () => balancer.stop()
  })

  test('both endpoints are reachable through its TLS, and share the rooms', async () => {
    const ann = await chatThrough(balancer, 'ann')
    const bob = await sdkThrough(balancer, 'bob')
    await joined(ann, 'general')
    const atBob = dataOf(await subscribed(bob, 'general'))
    await ann.done({ type: 'room_message', room: 'general', content: 'hello' })
    expect(await atBob.next()).toBe('hello')
    await bob.publish('general', 'and back')
    expect(await ann.next('chat', ({ from }) => from === 'bob')).toMatchObject({ content: 'and back' })
  })

  test('connections are distributed among the gateways', async () => {
    const before = await Promise.all(gateways.map(connectionsOf))
    for (let n = 0; n < 6; n += 1) await chatThrough(balancer, 'ann')
    const after = await Promise.all(gateways.map(connectionsOf))
    expect(after.map((count, index) => count > (before[index] ?? 0))).toEqual([true, true])
  })

  test('a refusal of the gateway reaches the client unchanged', async () => {
    expect(await balancer.get('/demo/acme/ws')).toBe(401)
    expect(await balancer.get('/demo/nobody/ws')).toBe(404)
    expect(await balancer.get(`/demo/acme/ws?token=${await tokenFor('ann')}`)).toBe(426)
  })

  test('the clients of a draining gateway move to the other one: no publication is missed, and no new client is refused', async () => {
    const [leaving, staying] = gateways as [GatewayProcess, GatewayProcess]
    const people = await Promise.all(['a', 'b', 'c', 'd'].map((user) => sdkThrough(balancer, user)))
    const rooms = await Promise.all(people.map((person) => subscribed(person, name, { recoverable: true })))
    const heard = rooms.map(dataOf)
    const codes: number[] = []
    for (const person of people) person.on('connecting', ({ code }) => codes.push(code))
    expect(await connectionsOf(leaving)).toBeGreaterThan(0)
    // These connect last, so the drain closes them last: the gateway drains until they disconnect.
    const keepers = await Promise.all(Array.from({ length: 20 }, () => chatAs(leaving, 'keeper')))
    const stop = publishContinuously(await connectedAs(staying, 'speaker'), name)
    const ended = leaving.stop()
    await until('the first client to be closed', () => codes.length > 0)

    const newcomers: ChatClient[] = []
    for (let n = 0; n < 10; n += 1) newcomers.push(await chatThrough(balancer, `newcomer-${n}`))
    expect((await leaving.ops('/readyz')).body['reasons']).toEqual(['draining: the gateway is shutting down'])
    await Promise.race(keepers.map((keeper) => keeper.closed()))
    for (const { socket } of keepers) socket.close(1000)
    expect(await ended).toEqual({ code: 0, signal: null })
    for (const { socket } of newcomers) expect(socket.readyState).toBe(WebSocket.OPEN)

    const again = await chatThrough(balancer, 'late')
    expect(again.socket.readyState).toBe(WebSocket.OPEN)
    await Promise.all(people.map((person) => within('coming back', person.ready())))
    const count = await stop()
    const all = Array.from({ length: count }, (_, n) => n)
    for (const arrivals of heard) expect(await arrivals.take(count)).toEqual(all)
    // Each client got the code, and those of the other gateway stayed connected.
    expect(codes.length).toBeGreaterThan(0)
    expect(new Set(codes)).toEqual(new Set([3001]))

    const [address] = addresses
    const back = await startAt(address)
    gateways[0] = back
    await untilReached(balancer, back)
  })

  test('the clients of a killed gateway reconnect to the other one', async () => {
    const [staying, dying] = gateways as [GatewayProcess, GatewayProcess]
    const people = await Promise.all(['a', 'b', 'c', 'd'].map((user) => sdkThrough(balancer, user)))
    await Promise.all(people.map((person) => subscribed(person, name)))
    expect(await connectionsOf(dying)).toBeGreaterThan(0)
    await dying.kill()
    await until('all clients at the other gateway', async () => {
      const states = people.map(({ state }) => state)
      return states.every((state) => state === State.Connected) && (await connectionsOf(staying)) >= 4
    })
    const [, address] = addresses
    const back = await startAt(address)
    gateways[1] = back
    await untilReached(balancer, back)
    expect(people.map(({ state }) => state)).toEqual(people.map(() => State.Connected))
  })

  test('an idle connection outlives every other timeout', async () => {
    const hasty = await BalancerProcess.start(name, {
      gateways: addresses,
      replacements: hastyValues[name],
    })
    onTestFinished(() => hasty.stop())
    // The short timeouts apply to ann's handshake too, so it may need several attempts.
    const ann = await until('ann through it', () => chatThrough(hasty, 'ann'))
    // This connection is as old as ann's and sends nothing either: when it times out, ann's would too.
    const mute = connectTls({ host: 'localhost', port: hasty.port, ca: hasty.ca })
    mute.on('error', () => {}).resume()
    await within('the timeout of the mute connection', once(mute, 'close'))
    expect(ann.events.waiting.filter(({ event }) => event === 'ping')).toEqual([])
    expect(await ann.done({ type: 'leave_room', room: 'nowhere' })).toMatchObject({ event: 'ack' })
  })

  test('the timeout of idle connections is longer than three ping intervals of the gateway', async () => {
    const text = await exampleOf(name)
    const seconds = [...text.matchAll(idleTimeouts[name])].map(([, value]) => Number(value))
    expect(seconds.length).toBeGreaterThan(0)
    const { pingIntervalMs } = defaultSessionLimits.heartbeat
    for (const value of seconds) expect(value * 1000).toBeGreaterThan(3 * pingIntervalMs)
  })

  describe('a gateway behind it', () => {
    test('receives the client’s real address and host', async () => {
      const upstream = await recorder()
      const own = await BalancerProcess.start(name, {
        gateways: [upstream.address, upstream.address],
      })
      onTestFinished(() => own.stop())
      await own.get('/demo/acme/ws')
      const forging = new WebSocket(`${own.ws}/demo/acme/ws`, {
        ca: own.ca,
        headers: { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'http' },
      })
      forging.on('error', () => {})
      await within('a refusal', once(forging, 'unexpected-response'))
      forging.terminate()
      expect(upstream.seen.at(-1)).toMatchObject({
        'x-forwarded-for': expect.stringMatching(/^(127\.0\.0\.1|::1)$/) as string,
        'x-forwarded-proto': 'https',
        host: `localhost:${own.port}`,
        upgrade: 'websocket',
      })
    })

    test('is protected from a flood of one address', async () => {
      const upstream = await recorder()
      const own = await BalancerProcess.start(name, {
        gateways: [upstream.address, upstream.address],
        replacements: floodValues[name],
      })
      onTestFinished(() => own.stop())
      const statuses: number[] = []
      for (let n = 0; n < 20; n += 1) statuses.push(await own.get('/demo/acme/ws'))
      expect(statuses.at(-1)).toBe(429)
    })
  })
})

/** Sets all timeouts except those of idle connections to a second. */
const hastyValues: Record<BalancerName, Record<string, string>> = {
  haproxy: {
    'timeout http-request 10s': 'timeout http-request 1s',
    'timeout client 30s': 'timeout client 1s',
    'timeout server 30s': 'timeout server 1s',
    'timeout client-fin 10s': 'timeout client-fin 1s',
    'timeout server-fin 10s': 'timeout server-fin 1s',
  },
  nginx: {
    'client_header_timeout 10s;': 'client_header_timeout 1s;',
    'proxy_connect_timeout 2s;': 'proxy_connect_timeout 1s;',
  },
}

const idleTimeouts: Record<BalancerName, RegExp> = {
  haproxy: /^ +timeout tunnel (\d+)s$/gm,
  nginx: /^ +proxy_(?:read|send)_timeout (\d+)s;$/gm,
}

const floodValues: Record<BalancerName, Record<string, string>> = {
  haproxy: { 'sc0_http_req_rate gt 1000': 'sc0_http_req_rate gt 5' },
  nginx: { 'rate=100r/s': 'rate=1r/s', 'burst=1000': 'burst=3' },
}

/** A fake gateway that is always ready, refuses every request, and records the headers. */
async function recorder(): Promise<{ address: GatewayAddress; seen: IncomingHttpHeaders[] }> {
  const seen: IncomingHttpHeaders[] = []
  const server = createServer((request, response) => {
    if (request.url !== '/readyz') seen.push(request.headers)
    response.writeHead(request.url === '/readyz' ? 200 : 401).end()
  })
  server.on('upgrade', (request, socket) => {
    seen.push(request.headers)
    socket.on('error', () => {})
    socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  return { address: { port, opsPort: port }, seen }
}
