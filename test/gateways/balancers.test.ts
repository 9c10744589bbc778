// The configurations of examples/, in the real HAProxy and nginx before two real gateways, with TLS: what docs/balancers.md promises of them.
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { State, type Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { defaultSessionLimits } from '../../src/session/context.js'
import { BalancerProcess, exampleOf, type BalancerName, type Place } from '../support/balancer-process.js'
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
import { publishing } from '../support/publishing.js'
import { endRedisProcesses, freePort, startRedis, until } from '../support/redis-processes.js'
import { within } from '../support/waiting.js'

const names = ['haproxy', 'nginx'] as const
/** Longer than anybody here needs for what happens meanwhile. */
const drainWindowSeconds = 30

let manifests: ManifestFolder
let places: [Place, Place]
/** By place. */
const gateways: GatewayProcess[] = []
let startAt: (place: Place) => Promise<GatewayProcess>

beforeAll(async () => {
  const redis = await startRedis()
  manifests = await ManifestFolder.make([...defaultRules, ...names.map((name) => openRule(name))])
  places = [await freePlace(), await freePlace()]
  startAt = ({ opsPort, port }) =>
    GatewayProcess.start({
      redis: `redis://127.0.0.1:${redis.port}`,
      args: [
        ...['--tenants', manifests.path, '--drain-window', String(drainWindowSeconds)],
        ...['--port', String(port), '--ops-port', String(opsPort)],
      ],
    })
  gateways.push(...(await Promise.all(places.map(startAt))))
})
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

/** A test that failed may have left one ended, or on its way out: the others have reasons of their own to fail. */
beforeEach(async () => {
  for (const [index, place] of places.entries()) {
    const there = await gateways[index]?.ops('/readyz').catch(() => undefined)
    if (there?.status === 200) continue
    await gateways[index]?.kill()
    gateways[index] = await startAt(place)
  }
})

async function freePlace(): Promise<Place> {
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

/** Newcomers get to it through the balancer. */
async function untilReached(balancer: BalancerProcess, gateway: GatewayProcess): Promise<void> {
  const options = { ca: balancer.ca }
  const url = `${balancer.ws}/demo/acme/ws?token=${await tokenFor('returner')}`
  await until(
    'a newcomer at the gateway that is back',
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
    balancer = await BalancerProcess.start(name, { places })
    return () => balancer.stop()
  })

  test('both doors are behind its TLS, and lead to the same rooms', async () => {
    const ann = await chatThrough(balancer, 'ann')
    const bob = await sdkThrough(balancer, 'bob')
    await joined(ann, 'general')
    const atBob = dataOf(await subscribed(bob, 'general'))
    await ann.done({ type: 'room_message', room: 'general', content: 'hello' })
    expect(await atBob.next()).toBe('hello')
    await bob.publish('general', 'and back')
    expect(await ann.next('chat', ({ from }) => from === 'bob')).toMatchObject({ content: 'and back' })
  })

  test('connections are shared out among the gateways', async () => {
    const before = await Promise.all(gateways.map(connectionsOf))
    for (let n = 0; n < 6; n += 1) await chatThrough(balancer, 'ann')
    const after = await Promise.all(gateways.map(connectionsOf))
    expect(after.map((count, index) => count > (before[index] ?? 0))).toEqual([true, true])
  })

  test('a refusal comes through as the gateway says it', async () => {
    expect(await balancer.get('/demo/acme/ws')).toBe(401)
    expect(await balancer.get('/demo/nobody/ws')).toBe(404)
    expect(await balancer.get(`/demo/acme/ws?token=${await tokenFor('ann')}`)).toBe(426)
  })

  test('a gateway that ends sends its clients through it to the other; nobody misses anything, no newcomer is turned away', async () => {
    const [leaving, staying] = gateways as [GatewayProcess, GatewayProcess]
    const people = await Promise.all(['a', 'b', 'c', 'd'].map((user) => sdkThrough(balancer, user)))
    const rooms = await Promise.all(people.map((person) => subscribed(person, name, { recoverable: true })))
    const heard = rooms.map(dataOf)
    const codes: number[] = []
    for (const person of people) person.on('connecting', ({ code }) => codes.push(code))
    expect(await connectionsOf(leaving)).toBeGreaterThan(0)
    // Sent away after all who were there before them, so that it drains until they go by themselves.
    const keepers = await Promise.all(Array.from({ length: 20 }, () => chatAs(leaving, 'keeper')))
    const stop = publishing(await connectedAs(staying, 'speaker'), name)
    const ended = leaving.stop()
    await until('the first to be sent away', () => codes.length > 0)

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
    // Each was told why, and those of the other gateway never moved.
    expect(codes.length).toBeGreaterThan(0)
    expect(new Set(codes)).toEqual(new Set([3001]))

    const [place] = places
    const back = await startAt(place)
    gateways[0] = back
    await untilReached(balancer, back)
  })

  test('a gateway that is killed costs its clients a moment', async () => {
    const [staying, dying] = gateways as [GatewayProcess, GatewayProcess]
    const people = await Promise.all(['a', 'b', 'c', 'd'].map((user) => sdkThrough(balancer, user)))
    await Promise.all(people.map((person) => subscribed(person, name)))
    expect(await connectionsOf(dying)).toBeGreaterThan(0)
    await dying.kill()
    await until('everybody at the other', async () => {
      const states = people.map(({ state }) => state)
      return states.every((state) => state === State.Connected) && (await connectionsOf(staying)) >= 4
    })
    const [, place] = places
    const back = await startAt(place)
    gateways[1] = back
    await untilReached(balancer, back)
    expect(people.map(({ state }) => state)).toEqual(people.map(() => State.Connected))
  })

  test('a quiet connection outlives every other timeout', async () => {
    const hasty = await BalancerProcess.start(name, { places, instead: hastyValues[name] })
    onTestFinished(() => hasty.stop())
    // Its timeouts count for her way in as well.
    const ann = await until('ann through it', () => chatThrough(hasty, 'ann'))
    // As old as she is, and says nothing either: when this one's time is over, so is what hers would be.
    const mute = connectTls({ host: 'localhost', port: hasty.port, ca: hasty.ca })
    mute.on('error', () => {}).resume()
    await within('the end of who says nothing', once(mute, 'close'))
    expect(ann.events.waiting.filter(({ event }) => event === 'ping')).toEqual([])
    expect(await ann.done({ type: 'leave_room', room: 'nowhere' })).toMatchObject({ event: 'ack' })
  })

  test('the timeout of quiet connections is more than three pings of the gateway', async () => {
    const text = await exampleOf(name)
    const seconds = [...text.matchAll(quietTimeouts[name])].map(([, value]) => Number(value))
    expect(seconds.length).toBeGreaterThan(0)
    const { pingIntervalMs } = defaultSessionLimits.heartbeat
    for (const value of seconds) expect(value * 1000).toBeGreaterThan(3 * pingIntervalMs)
  })

  describe('to whom it speaks for clients', () => {
    test('is told their real address and the host they asked for', async () => {
      const upstream = await recorder()
      const own = await BalancerProcess.start(name, { places: [upstream.place, upstream.place] })
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

    test('is spared a flood from one address', async () => {
      const upstream = await recorder()
      const own = await BalancerProcess.start(name, {
        places: [upstream.place, upstream.place],
        instead: floodValues[name],
      })
      onTestFinished(() => own.stop())
      const statuses: number[] = []
      for (let n = 0; n < 20; n += 1) statuses.push(await own.get('/demo/acme/ws'))
      expect(statuses.at(-1)).toBe(429)
    })
  })
})

/** All that are shorter than a quiet connection's, in a second. */
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

const quietTimeouts: Record<BalancerName, RegExp> = {
  haproxy: /^ +timeout tunnel (\d+)s$/gm,
  nginx: /^ +proxy_(?:read|send)_timeout (\d+)s;$/gm,
}

const floodValues: Record<BalancerName, Record<string, string>> = {
  haproxy: { 'sc0_http_req_rate gt 1000': 'sc0_http_req_rate gt 5' },
  nginx: { 'rate=100r/s': 'rate=1r/s', 'burst=1000': 'burst=3' },
}

/** In a gateway's place: says that it is well, refuses everybody, and remembers what it was told. */
async function recorder(): Promise<{ place: Place; seen: IncomingHttpHeaders[] }> {
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
  return { place: { port, opsPort: port }, seen }
}
