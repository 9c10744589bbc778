import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { canCommand } from './can.js'

const samples = fileURLToPath(new URL('../../manifests/samples', import.meta.url))

/** Thrown instead of ending the process. */
class Exit extends Error {
  readonly code: unknown
  constructor(code: unknown) {
    super(`exit ${String(code)}`)
    this.code = code
  }
}

let stdout: string
let stderr: string

beforeEach(() => {
  stdout = ''
  stderr = ''
  vi.spyOn(process, 'exit').mockImplementation((code) => {
    throw new Exit(code)
  })
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => Boolean((stdout += String(text))))
})

afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
})

/** Resolves with the exit code. */
async function run(...args: string[]): Promise<unknown> {
  const command = canCommand().configureOutput({ writeErr: (text) => void (stderr += text) })
  try {
    await command.parseAsync(['--tenants', samples, ...args], { from: 'user' })
    return process.exitCode
  } catch (error) {
    if (error instanceof Exit) return error.code
    throw error
  }
}

const acme = ['--tenant', 'demo/acme', '--user', 'u1']

describe('parley can', () => {
  test.each<[string[], string]>([
    [[...acme, 'subscribe', 'general'], 'yes: rule "general" allows subscribe on "general"\n'],
    [
      [...acme, '--claims', '{"team":"red"}', 'publish', 'team:red'],
      'yes: rule "team" allows publish on "team:red"\n',
    ],
    [[...acme, '--roles', 'x, admin', 'publish', 'announcements'], 'yes: rule "announcements" allows'],
    [
      [...acme, '--claims', '{"roles":["admin"]}', 'publish', 'announcements'],
      'yes: rule "announcements" allows',
    ],
    [['--tenant', 'demo/globex', '--anonymous', 'history', 'general'], 'yes: rule "general" allows'],
    [
      ['--tenant', 'demo/globex', '--anonymous', '--user', 'g1', 'subscribe', 'dm:guest:g1'],
      'yes: rule "direct-inbox"',
    ],
  ])('%j: yes', async (args, words) => {
    expect(await run(...args)).toBe(0)
    expect(stdout).toContain(words)
    expect(stderr).toBe('')
  })

  test.each<[string[], string]>([
    [
      [...acme, 'publish', 'announcements'],
      'no: Rule "announcements" grants Publish on "announcements" only to users with role "admin".\n',
    ],
    [
      [...acme, '--claims', '{"team":"blue"}', 'subscribe', 'team:red'],
      'no: Rule "team" covers "team:red" only for users whose claim "team"',
    ],
    [[...acme, 'subscribe', 'nowhere'], 'no: No channel rule of this tenant covers "nowhere".\n'],
    [
      ['--tenant', 'demo/acme', '--anonymous', 'subscribe', 'general'],
      'no: Rule "general" grants Subscribe on "general" only to',
    ],
  ])('%j: no', async (args, words) => {
    expect(await run(...args)).toBe(1)
    expect(stdout).toContain(words)
  })

  test.each<[string[], string]>([
    [
      ['--tenant', 'demo/none', '--user', 'u1', 'publish', 'x'],
      'the tenants that can: demo/acme, demo/globex.',
    ],
    [['--tenant', 'demo/acme', 'publish', 'x'], 'No user is given'],
    [[...acme, '--claims', '[1]', 'publish', 'x'], '--claims is not a JSON object'],
    [[...acme, '--claims', '{', 'publish', 'x'], '--claims is not a JSON object'],
    [[...acme, 'publish', 'a b'], 'U+0020'],
    [
      ['--tenant', 'demo/globex', '--anonymous', '--roles', 'x', 'publish', 'x'],
      'A guest has no claims and no roles.',
    ],
    [[...acme, '--tenants', join(samples, 'none'), 'publish', 'x'], 'cannot be read: ENOENT'],
  ])('%j: bad input', async (args, words) => {
    expect(await run(...args)).toBe(2)
    expect(stderr).toContain(words)
    expect(stdout).toBe('')
  })

  test.each<[string[], string]>([
    [[...acme, 'shout', 'general'], 'subscribe, publish, presence, history'],
    [[...acme, 'publish'], "missing required argument 'channel'"],
    [['publish', 'general'], "required option '--tenant"],
    [[...acme, '--rolls', 'x', 'publish', 'general'], "unknown option '--rolls'"],
  ])('%j: exits with 2, since 1 means no', async (args, words) => {
    expect(await run(...args)).toBe(2)
    expect(stderr).toContain(words)
  })

  test('a tenant that cannot be served is reported with its problem', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'parley-can-'))
    const header =
      'apiVersion: parley.chat/v1alpha1\nkind: ChatTenant\nmetadata: { name: acme, namespace: demo }\n'
    writeFileSync(join(folder, 'acme.yaml'), `${header}spec: { planRef: { name: gold } }\n`)
    expect(await run(...acme, '--tenants', folder, 'publish', 'x')).toBe(2)
    expect(stderr).toContain('acme.yaml:4: spec.planRef.name: There is no ChatPlan "gold".')
    rmSync(folder, { recursive: true })
  })
})
