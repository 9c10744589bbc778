// `parley gateway` with TLS: the certificate is replaced while the gateway runs, and invalid certificates are
// reported.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { X509Certificate } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { makeCertificate, SecretVolume, type CertificateFiles } from '../support/certificates.js'
import { chatAs, joined, type ChatClient } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import { GatewayProcess, ManifestFolder } from '../support/gateway-process.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'
import { within } from '../support/waiting.js'

let folder: string
let redis: RedisProcess
let manifests: ManifestFolder
/** Both are self-signed, so a client that trusts one does not trust the other. */
let first: CertificateFiles
let second: CertificateFiles
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-tls-'))
  redis = await startRedis()
  manifests = await ManifestFolder.make()
  first = await makeCertificate(folder, 'first', { days: 5 })
  second = await makeCertificate(folder, 'second', { days: 90 })
})
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
  await rm(folder, { recursive: true })
})

const optionsFor = ({ cert, key }: CertificateFiles) => ({
  redis: `redis://127.0.0.1:${redis.port}`,
  args: ['--tenants', manifests.path, '--tls-cert-file', cert, '--tls-key-file', key],
})

describe('while it runs', () => {
  let volume: SecretVolume
  let gateway: GatewayProcess
  let mounts = 0
  beforeEach(async () => {
    mounts += 1
    volume = await SecretVolume.mount(join(folder, `volume-${mounts}`), first)
    gateway = await GatewayProcess.start(optionsFor(volume))
  })
  afterEach(() => gateway.kill())

  /** The subject of the certificate for new connections. */
  async function currentSubject(): Promise<string | undefined> {
    const socket = connect({ host: '127.0.0.1', port: gateway.port, rejectUnauthorized: false })
    try {
      return await new Promise((resolve, reject) => {
        socket.once('error', reject)
        socket.once('secureConnect', () => resolve(socket.getPeerX509Certificate()?.subject))
      })
    } finally {
      socket.destroy()
    }
  }

  async function chatTrusting({ cert }: CertificateFiles, user: string): Promise<ChatClient> {
    return chatAs(gateway, user, { options: { ca: await readFile(cert, 'utf8') } })
  }

  async function metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${gateway.opsPort}/metrics`)).text()
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1])
  }

  async function expirySeconds({ cert }: CertificateFiles): Promise<number> {
    return Date.parse(new X509Certificate(await readFile(cert)).validTo) / 1000
  }

  const expiry = 'parley_tls_certificate_expiry_timestamp_seconds'

  test('a new certificate is used for new connections, and open connections stay', async () => {
    const old = await chatTrusting(first, 'ada')
    await joined(old, 'general')
    expect(await currentSubject()).toBe('CN=first')
    expect(await metric(expiry)).toBe(await expirySeconds(first))

    await volume.write(second)
    await until('the new certificate', async () => (await currentSubject()) === 'CN=second')
    const newcomer = await chatTrusting(second, 'bob')
    await joined(newcomer, 'general')
    await newcomer.done({ type: 'chat', room: 'general', content: 'hello' })
    expect(await old.next('chat')).toMatchObject({ from: 'bob', content: 'hello' })
    expect(await metric(expiry)).toBe(await expirySeconds(second))
  })

  test('a mismatched pair is logged, and the old pair stays in use until a valid one is written', async () => {
    await volume.write({ cert: second.cert, key: first.key })
    const message = 'certificate for clients changed and cannot be used: the previous value stays in force'
    expect(await gateway.logged(message)).toMatchObject({
      problems: [`The key in "${volume.key}" does not belong to the certificate in "${volume.cert}"`],
    })
    expect(await currentSubject()).toBe('CN=first')
    await volume.write(second)
    await until('the new certificate', async () => (await currentSubject()) === 'CN=second')
  })

  test('a drain closes sessions as on a plain port', async () => {
    const client = await chatTrusting(first, 'ada')
    const ended = gateway.stop()
    expect(await client.closed()).toMatchObject({ code: 3001 })
    expect(await within('the end', ended)).toEqual({ code: 0, signal: null })
  })

  test('the operators’ port stays without TLS', async () => {
    // The gateway serves a moment before it is ready.
    await until('a ready gateway', async () => (await gateway.ops('/readyz')).status === 200)
    expect(await gateway.ops('/readyz')).toEqual({ status: 200, body: { ready: true, reasons: [] } })
  })
})

describe('exits with 78 and one message:', () => {
  async function expectFailed(files: Partial<CertificateFiles>, sentence: string): Promise<void> {
    const flags = Object.entries(files).flatMap(([name, file]) => [`--tls-${name}-file`, file])
    const { program } = GatewayProcess.spawn({
      redis: `redis://127.0.0.1:${redis.port}`,
      args: ['--tenants', manifests.path, ...flags],
    })
    onTestFinished(() => program.kill())
    expect(await within('the end of a start that must fail', program.ended)).toMatchObject({ code: 78 })
    expect(program.output.split('\n').filter((line) => line !== '' && !line.startsWith('{'))).toEqual([
      `parley: ${sentence}`,
    ])
  }

  test('a certificate without its key', () =>
    expectFailed(
      { cert: first.cert },
      'A certificate and its key go together: give both --tls-cert-file and --tls-key-file',
    ))

  test('a file that does not exist', () =>
    expectFailed({ ...first, key: 'nowhere' }, 'The key file "nowhere" cannot be read: ENOENT'))

  test('a mismatched pair', () =>
    expectFailed(
      { cert: first.cert, key: second.key },
      `The key in "${second.key}" does not belong to the certificate in "${first.cert}"`,
    ))

  test('certificate and key swapped', () =>
    expectFailed(
      { cert: first.key, key: first.cert },
      `The certificate file "${first.key}" does not contain a certificate in PEM`,
    ))

  test('an empty key file', async () => {
    const empty = join(folder, 'empty.key')
    await writeFile(empty, '')
    const sentence = `The key file "${empty}" does not contain a private key in PEM, or the key has a passphrase`
    await expectFailed({ ...first, key: empty }, sentence)
  })
})
