import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { CommanderError } from 'commander'
import { TokenVerifier } from '../auth/token.js'
import { compileManifests } from '../compile/manifests.js'
import { FilesCatalog } from '../catalog/files.js'
import { systemClock } from '../time.js'
import { tokenCommand } from './token.js'

const manifests = `
apiVersion: v1
kind: Secret
metadata: { name: acme-key, namespace: demo }
stringData: { signing-key: an-example-secret-of-more-than-32-bytes }
---
apiVersion: parley.chat/v1alpha1
kind: ChatPlan
metadata: { name: standard }
spec: {}
---
apiVersion: parley.chat/v1alpha1
kind: ChatTenant
metadata: { name: acme, namespace: demo }
spec:
  planRef: { name: standard }
  auth:
    - { name: provider, type: JWKSURI, jwksURI: https://idp.example/jwks.json }
    - { name: backend, type: SharedKey, audience: chat, keyRef: { name: acme-key, key: signing-key } }
---
apiVersion: parley.chat/v1alpha1
kind: ChatTenant
metadata: { name: keyless, namespace: demo }
spec:
  planRef: { name: standard }
  auth:
    - { name: provider, type: JWKSURI, jwksURI: https://idp.example/jwks.json }
`

let folder: string
let verifier: TokenVerifier
let stdout: string
let stderr: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-token-'))
  await writeFile(join(folder, 'all.yaml'), manifests)
  const catalog = FilesCatalog.open(folder, { compile: compileManifests })
  verifier = new TokenVerifier(catalog.get('demo/acme')?.issuers ?? [], { clock: systemClock })
})

afterAll(async () => {
  verifier.close()
  await rm(folder, { recursive: true })
})

beforeEach(() => {
  stdout = ''
  stderr = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => Boolean((stdout += String(text))))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => Boolean((stderr += String(text))))
  vi.spyOn(console, 'error').mockImplementation((text) => void (stderr += `${String(text)}\n`))
})

/** Resolves with the exit code. */
async function run(...args: string[]): Promise<number> {
  const command = tokenCommand().exitOverride()
  try {
    await command.parseAsync(['--tenants', folder, ...args], { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode
    throw error
  }
}

describe('parley token', () => {
  test('prints only a token that the tenant accepts', async () => {
    const claims = '{"team":"red"}'
    expect(
      await run(
        '--tenant',
        'demo/acme',
        '--user',
        'u1',
        '--claims',
        claims,
        '--roles',
        'admin, x',
        '--ttl',
        '10m',
      ),
    ).toBe(0)
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    const verified = await verifier.verify(stdout.trim())
    expect(verified).toMatchObject({
      user: 'u1',
      roles: ['admin', 'x'],
      claims: { team: 'red', aud: 'chat' },
    })
    expect(verified.expiresAtMs! - Date.now()).toBeLessThanOrEqual(600_000)
    expect(stderr).toBe('Token of u1 at demo/acme, by issuer "backend", valid for 10m.\n')
  })

  test('prints subscription tokens', async () => {
    expect(await run('--tenant', 'demo/acme', '--user', 'u1', '--channel', 'board:42')).toBe(0)
    const bearer = { user: 'u1', channel: 'board:42', client: 'c' }
    await expect(verifier.verifySubscription(stdout.trim(), bearer)).resolves.toBeDefined()
  })

  test('warns about a token that the tenant will refuse, and still prints it', async () => {
    expect(await run('--tenant', 'demo/acme', '--user', 'u1', '--claims', '{"exp":1}')).toBe(0)
    expect(stdout).not.toBe('')
    expect(stderr).toContain('The tenant will refuse it. The token has expired')
  })

  test.each([
    ['no tenant', ['--user', 'u1'], '--tenant is missing'],
    ['no user', ['--tenant', 'demo/acme'], '--user is missing'],
    [
      'an unknown tenant',
      ['--tenant', 'demo/nobody', '--user', 'u1'],
      'the tenants that can: demo/acme, demo/keyless',
    ],
    [
      'claims that are not JSON',
      ['--tenant', 'demo/acme', '--user', 'u1', '--claims', '{team}'],
      '--claims is not a JSON object',
    ],
    [
      'claims that are a list',
      ['--tenant', 'demo/acme', '--user', 'u1', '--claims', '[]'],
      '--claims is not a JSON object',
    ],
    [
      'an odd time',
      ['--tenant', 'demo/acme', '--user', 'u1', '--ttl', 'soon'],
      '--ttl "soon" is not a duration',
    ],
    [
      'an unknown issuer',
      ['--tenant', 'demo/acme', '--user', 'u1', '--issuer', 'x'],
      'has no issuer "x"; its issuers: provider (JWKSURI), backend (SharedKey)',
    ],
    [
      'an issuer that only verifies',
      ['--tenant', 'demo/acme', '--user', 'u1', '--issuer', 'provider'],
      'only verifies',
    ],
    [
      'a tenant without a shared key',
      ['--tenant', 'demo/keyless', '--user', 'u1'],
      'has no issuer with a shared key',
    ],
  ])('exits with 2 and one sentence for %s', async (_, args, sentence) => {
    expect(await run(...args)).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain(sentence)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})
