// The clients' port with TLS: connections without TLS, with unsupported TLS or with an unfinished handshake
// are cut and counted. After the handshake, connections behave as on a plain port.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { describe, expect, test, vi } from 'vitest'
import type { TlsHandshakeFailure } from '../../src/gateway/http/tls.js'
import { makeCertificate } from '../support/certificates.js'
import { RawClient } from '../support/raw-client.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'
import { chatPath, upgradeRequest } from '../support/raw-http.js'
import { deadlineMs } from '../support/waiting.js'

const folder = await mkdtemp(join(tmpdir(), 'parley-tls-'))
const files = await makeCertificate(folder, 'clients')
const certificate = { cert: await readFile(files.cert, 'utf8'), key: await readFile(files.key, 'utf8') }
await rm(folder, { recursive: true })
const ca = certificate.cert

const timing = {
  tlsHandshakeTimeoutMs: 400,
  headersTimeoutMs: 400,
  handshakeTimeoutMs: 800,
  checkIntervalMs: 50,
}
const target = targetGateway(undefined, {}, { certificate, timing })

async function failures(reason: TlsHandshakeFailure): Promise<number> {
  const { values } = await target.running.gateway.metrics.tlsHandshakeFailures.get()
  return values.find(({ labels }) => labels.reason === reason)?.value ?? 0
}

/** Runs `meet` and asserts that the failure was counted once. */
async function expectCounted(reason: TlsHandshakeFailure, meet: () => Promise<unknown>): Promise<void> {
  const before = await failures(reason)
  await meet()
  await vi.waitFor(async () => expect(await failures(reason)).toBe(before + 1), deadlineMs)
}

/** Reads until the connection is cut: at most a TLS alert, and no HTTP. */
async function cut(bytes: string): Promise<void> {
  const client = await RawClient.connect(target.running.port)
  client.write(bytes)
  expect((await client.end()).toString('latin1')).not.toContain('HTTP')
  client.destroy()
}

describe('before the handshake is complete', () => {
  test('plain HTTP is cut', async () => {
    await expectCounted('plain_http', () => cut(upgradeRequest()))
  })

  test.each([
    ['noise', 'a\u0000\u0001\u00ff'.repeat(50)],
    ['a handshake cut short by noise', `\u0016\u0003\u0001\u0000\u0030\u0001${'\u00ff'.repeat(100)}`],
    ['a WebSocket frame', '\u0081\u0085abcdhello, whoever you are'],
  ])('%s is cut', async (_what, bytes) => {
    await expectCounted('refused', () => cut(bytes))
  })

  test('a client that sends nothing is cut', async () => {
    await expectCounted('timeout', () => cut(''))
  })

  test('a client that starts the handshake and stops is cut', async () => {
    await expectCounted('timeout', () => cut('\u0016\u0003\u0001\u0002\u0000\u0001'))
  })

  test('a client that closes the connection is counted', async () => {
    await expectCounted('cut', async () => {
      const client = await RawClient.connect(target.running.port)
      client.destroy()
    })
  })

  test.each<[string, ConnectionOptions, RegExp]>([
    ['TLS 1.1', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }, /version/],
    ['HTTP/2 alone', { ALPNProtocols: ['h2'] }, /no application protocol/],
  ])('%s is refused', async (_what, options, alert) => {
    await expectCounted('refused', () =>
      expect(RawClient.connectTls(target.running.port, { ca, ...options })).rejects.toThrow(alert),
    )
  })
})

describe('after the handshake', () => {
  test.each<[string, ConnectionOptions]>([
    ['no name', { servername: '' }],
    ['another name', { servername: 'elsewhere.example', checkServerIdentity: () => undefined }],
    ['TLS 1.2', { maxVersion: 'TLSv1.2' }],
    ['HTTP/2 or HTTP/1.1', { ALPNProtocols: ['h2', 'http/1.1'] }],
  ])('%s is accepted', async (_what, options) => {
    const client = await RawClient.connectTls(target.running.port, { ca, ...options })
    const token = await target.running.token('ada')
    client.write(upgradeRequest({ target: `${chatPath}?token=${token}` }))
    expect(await client.answer()).toMatchObject({ status: 101 })
    client.destroy()
  })

  test('bytes that are not HTTP get an error response', async () => {
    expectRefusal(await target.request('\u0000\u0001\r\n\r\n'), { status: 400, code: 'BAD_REQUEST' })
  })

  test('headers are limited in size', async () => {
    const answer = await target.request({ headers: { 'X-Long': 'x'.repeat(20_000) } })
    expectRefusal(answer, { status: 431, code: 'HEADERS_TOO_LARGE' })
  })

  test('headers have the same deadline as on a plain port', async () => {
    const client = await target.connect()
    client.write('GET / HTTP/1.1\r\n')
    expectRefusal(await client.answer(), { status: 408, code: 'REQUEST_TIMEOUT' })
  })

  test('a refused upgrade is answered and closed', async () => {
    const client = await target.connect()
    client.write(upgradeRequest({ target: `${chatPath}?token=none` }))
    expectRefusal(await client.answer(), { status: 401, code: 'TOKEN_INVALID' })
    await client.end()
  })

  test('a connection that is cut within a frame ends its session', async () => {
    const client = await target.chat('bob')
    const { gateway } = target.running
    const { sessions } = gateway.context
    const ours = [...gateway.tenants]
      .flatMap((tenant) => [...tenant.sessions])
      .find(({ identity }) => identity.user === 'bob')
    client.write(Buffer.from([0x81]))
    client.destroy()
    await vi.waitFor(() => expect([...sessions]).not.toContain(ours), deadlineMs)
  })

  test('a client that stops reading is cut, and no other client', async () => {
    const [speaker, sleeper] = [await target.chat('speaker'), await target.chat('sleeper')]
    sleeper.socket.pause()
    const { metrics } = target.running.gateway
    const isCut = async (): Promise<boolean> => (await metrics.slowCloses.get()).values[0]?.value === 1
    // Far more than the kernel buffers for a loopback connection, on both sides together.
    for (let id = 1; id < 600 && !(await isCut()); id += 1) {
      speaker.send({ type: 'chat', id: String(id), content: 'x'.repeat(30_000) })
      await speaker.json((message) => message['id'] === String(id) && message['event'] === 'ack')
    }
    expect(await isCut()).toBe(true)
    sleeper.socket.resume()
    expect([3008, 1006]).toContain((await sleeper.closed()).code)
  })
})
