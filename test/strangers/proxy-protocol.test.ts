// The PROXY protocol, version 2, on real sockets: before HTTP and before TLS, and from trusted proxies only.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect as connectTls } from 'node:tls'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { proxyHeader } from '../../src/gateway/http/proxy-protocol.testing.js'
import { makeCertificate } from '../support/certificates.js'
import { MovableClock } from '../support/clock.js'
import { startGateway, type TestGateway } from '../support/gateway.js'
import { tenantPolicy } from '../support/policies.js'
import { RawClient } from '../support/raw-client.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'
import { centrifugePath, chatPath, upgradeRequest } from '../support/raw-http.js'
import { deadlineMs } from '../support/waiting.js'

/** An address may open three WebSockets; the clock stands still. */
const options = {
  trustedProxies: ['127.9.0.0/16'],
  proxyProtocol: true,
  handshakeRates: { perSecond: 1_000, perAddress: 1 },
  timing: { headersTimeoutMs: 600, refusalDelayMs: 20, checkIntervalMs: 50 },
} as const
const target = targetGateway([tenantPolicy()], { clock: new MovableClock() }, options)

const upgrade = upgradeRequest({ target: centrifugePath })

async function from(localAddress: string): Promise<RawClient> {
  return target.connect({ localAddress })
}

/** Opens a WebSocket through a proxy and returns the status. */
async function statusOf(...packets: readonly (Buffer | string)[]): Promise<number> {
  const client = await from('127.9.0.1')
  for (const packet of packets) {
    client.write(packet)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const { status } = await client.answer()
  client.destroy()
  return status
}

async function cuts({ gateway }: TestGateway, reason: string): Promise<number> {
  const { values } = await gateway.metrics.cutConnections.get()
  return values.find(({ labels }) => labels.reason === reason)?.value ?? 0
}

describe('a header from a trusted proxy', () => {
  test.each([
    ['of TCP over IPv4', '203.0.113.1', ['203.0.113.2']],
    ['of TCP over IPv6', '2001:db8::1', ['2001:db8:1::2']],
  ])('%s names the client', async (_what, source, [other]) => {
    const header = proxyHeader({ source })
    for (let n = 0; n < 3; n += 1)
      expect(await statusOf(Buffer.concat([header, Buffer.from(upgrade)]))).toBe(101)
    expect(await statusOf(header, upgrade)).toBe(429)
    expect(await statusOf(proxyHeader({ source: other as string }), upgrade)).toBe(101)
  })

  test('may arrive in pieces, and its TLVs are skipped', async () => {
    const header = proxyHeader({ source: '203.0.113.3', tlvBytes: 2_000 })
    const pieces = [
      header.subarray(0, 1),
      header.subarray(1, 14),
      header.subarray(14, 30),
      header.subarray(30),
    ]
    expect(await statusOf(...pieces, upgrade.slice(0, 10), upgrade.slice(10))).toBe(101)
    // The first bytes of the request are in the packet with the end of the header.
    const [first, second] = [header.subarray(0, 700), header.subarray(700)]
    expect(
      await statusOf(first, Buffer.concat([second, Buffer.from(upgrade.slice(0, 20))]), upgrade.slice(20)),
    ).toBe(101)
  })

  test('of the proxy itself (LOCAL, UNSPEC) leaves the address of the proxy', async () => {
    expect(await statusOf(proxyHeader({ command: 0 }), upgrade)).toBe(101)
    expect(await statusOf(proxyHeader({}), upgrade)).toBe(101)
  })

  test('may name a proxy that speaks HTTP, whose header names the client', async () => {
    const header = proxyHeader({ source: '127.9.0.7' })
    const request = (client: string): string =>
      upgradeRequest({ target: centrifugePath, headers: { 'X-Forwarded-For': client } })
    for (const status of [101, 101, 101, 429])
      expect(await statusOf(header, request('203.0.113.4'))).toBe(status)
    expect(await statusOf(header, request('203.0.113.5'))).toBe(101)
  })
})

describe('cut, counted, and without an answer', () => {
  test.each([
    ['no header', 'proxy_header_missing', upgrade],
    ['version 1', 'proxy_header_missing', `PROXY TCP4 203.0.113.1 127.0.0.1 4711 80\r\n${upgrade}`],
    [
      'a malformed header',
      'proxy_header_malformed',
      Buffer.concat([proxyHeader({}).subarray(0, 12), Buffer.alloc(4, 0xff)]),
    ],
    ['an unfinished header', 'proxy_header_timeout', proxyHeader({ source: '203.0.113.1' }).subarray(0, 20)],
    ['nothing at all', 'proxy_header_timeout', ''],
  ])('%s', async (_what, reason, bytes) => {
    const before = await cuts(target.running, reason)
    const client = await from('127.9.0.1')
    client.write(bytes)
    expect((await client.end()).byteLength).toBe(0)
    expect(await cuts(target.running, reason)).toBe(before + 1)
    client.destroy()
    await vi.waitFor(() => expect(target.running.gateway.unauthenticatedSockets.total).toBe(0), deadlineMs)
  })

  test('a probe that connects and closes is not counted', async () => {
    const { metrics } = target.running.gateway
    const before = JSON.stringify((await metrics.cutConnections.get()).values)
    const client = await from('127.9.0.1')
    client.socket.end()
    client.destroy()
    await vi.waitFor(() => expect(target.running.gateway.unauthenticatedSockets.total).toBe(0), deadlineMs)
    expect(JSON.stringify((await metrics.cutConnections.get()).values)).toBe(before)
  })
})

test('a stranger needs no header, and one that sends it is refused as malformed HTTP', async () => {
  const direct = await from('127.1.0.1')
  direct.write(`GET ${chatPath} HTTP/1.1\r\nHost: a\r\n\r\n`)
  expectRefusal(await direct.answer(), { status: 401, code: 'UNAUTHORIZED' })
  const forged = await from('127.1.0.1')
  forged.write(Buffer.concat([proxyHeader({ source: '203.0.113.1' }), Buffer.from(upgrade)]))
  expectRefusal(await forged.answer(), { status: 400, code: 'BAD_REQUEST' })
})

test('with TLS, the header comes before the handshake', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'parley-proxy-'))
  const files = await makeCertificate(folder, 'clients')
  const certificate = { cert: await readFile(files.cert, 'utf8'), key: await readFile(files.key, 'utf8') }
  await rm(folder, { recursive: true })
  const gateway = await startGateway(
    [tenantPolicy()],
    { clock: new MovableClock() },
    { ...options, certificate },
  )
  try {
    const open = async (source: string, joined: boolean): Promise<number> => {
      const raw = await RawClient.connect(gateway.port, { localAddress: '127.9.0.1' })
      raw.socket.removeAllListeners('data')
      raw.write(proxyHeader({ source }))
      if (!joined) await new Promise((resolve) => setTimeout(resolve, 20))
      const socket = connectTls({ socket: raw.socket, ca: certificate.cert, servername: 'localhost' })
      const answer = new Promise<string>((resolve, reject) => {
        socket.once('data', (bytes: Buffer) => resolve(bytes.toString('latin1')))
        socket.once('error', reject)
      })
      socket.write(upgrade)
      const status = Number((await answer).split(' ')[1])
      socket.destroy()
      return status
    }
    for (const status of [101, 101, 101, 429]) expect(await open('203.0.113.1', true)).toBe(status)
    expect(await open('203.0.113.2', false)).toBe(101)
    await vi.waitFor(() => expect(gateway.gateway.unauthenticatedSockets.total).toBe(0), deadlineMs)
  } finally {
    await gateway.stop()
  }
})
