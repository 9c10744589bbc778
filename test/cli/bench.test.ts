// `parley bench` as a process, against a gateway that the test starts.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { endSubjects, parleyInMemory, type Subject } from '../../bench/speed/subjects.js'
import { TenantFolder } from '../../bench/speed/tenants.js'
import { acmeIssuer } from '../support/policies.js'
import { makeCertificate } from '../support/certificates.js'
import { GatewayProcess } from '../support/gateway-process.js'
import { startRedis } from '../support/redis-processes.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
let folder: string
let subject: Subject
let secretFile: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-bench-'))
  secretFile = join(folder, 'key')
  const { key } = acmeIssuer
  if (key.type !== 'SharedKey') throw new Error('the tenant has no shared key')
  await writeFile(secretFile, `${Buffer.from(key.secret, 'base64').toString()}\n`)
  subject = await parleyInMemory('Parley')
})
afterAll(async () => {
  await endSubjects()
  await rm(folder, { recursive: true, force: true })
})

const bench = (...args: string[]) => benchWith({}, ...args)

const benchWith = (env: Record<string, string>, ...args: string[]) =>
  promisify(execFile)(
    process.execPath,
    [
      ...['dist/cli/main.js', 'bench', ...args],
      ...['--channel-prefix', 'kept:', '--connections', '20', '--channels', '4', '--duration', '1'],
    ],
    { cwd: root, env: { ...process.env, ...env } },
  )

test('counts every delivery', async () => {
  const { stdout } = await bench(
    `${subject.url}/bench/t0`,
    ...['--secret-file', secretFile, '--publish-rate', '40'],
  )
  expect(stdout).toContain('connections  24 of 24 in ')
  expect(stdout).toContain('publishes    40 of 40 answered   p50 ')
  expect(stdout).toContain('deliveries   200 of 200, 0 missing\n')
  expect(stdout).toContain('failures     none\n')
})

test('prints refused connections by code, and exits with 1', async () => {
  await expect(bench(`${subject.url}/bench/other`, '--secret-file', secretFile)).rejects.toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/connections {2}0 of 24 .*\nfailures {5}24 × 404 NOT_FOUND\n/s),
  })
  // The output has Centrifuge's error number for an invalid token.
  await expect(bench(`${subject.url}/bench/t0`, '--token', 'none')).rejects.toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/failures {5}24 × \d+\n/),
  })
})

test('measures through TLS, and prints the reason when it does not trust the certificate', async () => {
  const { cert, key } = await makeCertificate(folder, 'gateway', { days: 5 })
  const tenants = await TenantFolder.make(1)
  const gateway = await GatewayProcess.start({
    redis: `redis://127.0.0.1:${(await startRedis()).port}`,
    args: ['--tenants', tenants.path, '--tls-cert-file', cert, '--tls-key-file', key],
  })
  onTestFinished(() => tenants.remove())
  const args = [`wss://127.0.0.1:${gateway.port}/bench/t0`, '--secret-file', secretFile]
  const { stderr, stdout } = await benchWith({ NODE_EXTRA_CA_CERTS: cert }, ...args, '--publish-rate', '40')
  expect(stdout).toContain('deliveries   200 of 200, 0 missing\n')
  expect(stderr).toBe('')
  await expect(bench(...args)).rejects.toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/failures {5}24 × [A-Z_]*SELF_SIGNED_CERT[A-Z_]*\n/),
  })
})

test('prints a message for invalid options', async () => {
  await expect(bench('http://localhost:8000/demo/acme')).rejects.toMatchObject({
    stderr: expect.stringContaining('The address is ws:// or wss://, a host, and /<namespace>/<tenant>.'),
  })
  await expect(bench(`${subject.url}/bench/t0`, '--secret-file', join(folder, 'none'))).rejects.toMatchObject(
    {
      code: 78,
      stderr: expect.stringMatching(/^parley: The key file ".*none" cannot be read: /),
    },
  )
})
