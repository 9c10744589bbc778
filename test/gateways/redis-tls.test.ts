// Redis with TLS, its own certificate authority, and client certificates.
import { createPrivateKey } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { makeCertificate, SecretVolume, type CertificateFiles } from '../support/certificates.js'
import { endPrograms } from '../support/child-process.js'
import { chatIn, GatewayProcess, ManifestFolder } from '../support/gateway-process.js'
import { startRedisCluster } from '../support/redis-cluster.js'
import {
  endRedisProcesses,
  startRedis,
  startSentinelTrio,
  until,
  type RedisProcess,
} from '../support/redis-processes.js'
import { within } from '../support/waiting.js'

let folder: string
let manifests: ManifestFolder
let redis: RedisProcess
let authority: CertificateFiles
let client: CertificateFiles
/** A certificate of an authority that Redis does not trust. */
let stranger: CertificateFiles
let config: string[]
let cliArgs: string[]
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-redis-tls-'))
  manifests = await ManifestFolder.make()
  authority = await makeCertificate(folder, 'authority')
  const server = await makeCertificate(folder, 'server', { signer: authority })
  client = await makeCertificate(folder, 'client', { signer: authority })
  stranger = await makeCertificate(folder, 'stranger')
  config = [
    'tls-port {port}',
    `tls-cert-file ${server.cert}`,
    `tls-key-file ${server.key}`,
    `tls-ca-cert-file ${authority.cert}`,
    'tls-auth-clients yes',
    'tls-replication yes',
  ]
  cliArgs = ['--tls', '--cacert', authority.cert, '--cert', client.cert, '--key', client.key]
  redis = await startRedis({ config, cliArgs })
})
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
  await rm(folder, { recursive: true })
})

const argsFor = ({ cert, key }: CertificateFiles) => [
  ...['--tenants', manifests.path, '--redis-ca-file', authority.cert],
  ...['--redis-cert-file', cert, '--redis-key-file', key],
]

/** Starts a gateway and sends a message through it. */
async function expectServing(url: string, args = argsFor(client)): Promise<void> {
  const gateway = await GatewayProcess.start({ redis: url, args })
  onTestFinished(() => gateway.kill())
  await until('a ready gateway', async () => (await gateway.ops('/readyz')).status === 200)
  await chatIn(gateway, 'ada')
}

describe('with CA and client certificate a gateway serves', () => {
  test('on one Redis', () => expectServing(`rediss://127.0.0.1:${redis.port}`))

  test('behind Sentinels with the same TLS settings', async () => {
    const trio = await startSentinelTrio({
      config,
      cliArgs,
      sentinelConfig: config,
      sentinelCliArgs: cliArgs,
    })
    await expectServing(trio.url.replace('redis', 'rediss'))
  })

  test('on a Cluster', async () => {
    const cluster = await startRedisCluster({
      replicasPerMaster: 0,
      config: [...config, 'tls-cluster yes'],
      cliArgs,
    })
    await expectServing(cluster.url.replace('redis', 'rediss'))
  })
})

describe('without what Redis requires a gateway waits, and logs the reason', () => {
  async function expectWaiting(args: string[], reason: RegExp): Promise<void> {
    const gateway = await GatewayProcess.launch({ redis: `rediss://127.0.0.1:${redis.port}`, args })
    onTestFinished(() => gateway.kill())
    expect(await gateway.logged('waiting for Redis')).toMatchObject({ reason: expect.stringMatching(reason) })
  }

  // Redis sends the reason and closes the connection at once, so the gateway may not read the reason.
  test('when it has no certificate', () =>
    expectWaiting(
      ['--tenants', manifests.path, '--redis-ca-file', authority.cert],
      /certificate required|ECONNRESET|EPIPE|was closed/,
    ))

  test('when it does not know the CA', () =>
    expectWaiting(['--tenants', manifests.path], /unable to verify|self-signed certificate/))

  test('when Redis does not trust its certificate', () =>
    expectWaiting(argsFor(stranger), /unknown ca|ECONNRESET|EPIPE|was closed/))
})

test('a renewed certificate is used for new connections to Redis', async () => {
  const volume = await SecretVolume.mount(join(folder, 'volume'), stranger)
  const gateway = await GatewayProcess.launch({
    redis: `rediss://127.0.0.1:${redis.port}`,
    args: argsFor(volume),
  })
  onTestFinished(() => gateway.kill())
  await gateway.logged('waiting for Redis')
  await volume.write(client)
  await gateway.serving()
  await until('readiness', async () => (await gateway.ops('/readyz')).status === 200)
  expect(gateway.program.output).toContain(
    'certificates for Redis changed: new connections use the new value',
  )
})

describe('exits with 78 and one message:', () => {
  async function expectFailed(scheme: 'redis' | 'rediss', args: string[], sentence: string): Promise<void> {
    const { program } = GatewayProcess.spawn({
      redis: `${scheme}://127.0.0.1:${redis.port}`,
      args: ['--tenants', manifests.path, ...args],
    })
    onTestFinished(() => program.kill())
    expect(await within('the end of a start that must fail', program.ended)).toMatchObject({ code: 78 })
    expect(program.output.trim()).toBe(`parley: ${sentence}`)
  }

  test('a CA file that does not exist', () =>
    expectFailed(
      'rediss',
      ['--redis-ca-file', 'nowhere'],
      'The certificate file "nowhere" cannot be read: ENOENT',
    ))

  test('a CA file without a certificate', async () => {
    const file = join(folder, 'words.crt')
    await writeFile(file, 'trust me\n')
    await expectFailed(
      'rediss',
      ['--redis-ca-file', file],
      `The certificate file "${file}" does not contain a certificate in PEM`,
    )
  })

  test('a key without its certificate', () =>
    expectFailed(
      'rediss',
      ['--redis-key-file', client.key],
      'A certificate and its key go together: give both --redis-cert-file and --redis-key-file',
    ))

  test('a CA file for a Redis without TLS', () =>
    expectFailed(
      'redis',
      ['--redis-ca-file', authority.cert],
      'Redis URL: certificates are configured, but only rediss://, rediss+sentinel:// and rediss+cluster:// use TLS',
    ))

  test('a key with a passphrase', async () => {
    const file = join(folder, 'locked.key')
    const locked = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' } as const
    await writeFile(file, createPrivateKey(await readFile(client.key)).export(locked))
    await expectFailed(
      'rediss',
      ['--redis-cert-file', client.cert, '--redis-key-file', file],
      `The key file "${file}" does not contain a private key in PEM, or the key has a passphrase`,
    )
  })
})
