// Tests that the lint rules refuse what they should, with bad code in a copy of the layout. One run of the
// linter checks all files, because starting it takes longer than reading them.
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** A file with bad code. The linter must report `rule` for it. */
interface Refused {
  why: string
  file: string
  code: string
  rule: string
}

const imports = 'eslint(no-restricted-imports)'
const importing = (file: string, specifier: string): Refused => ({
  why: `${file} imports ${specifier}`,
  file,
  code: `import { x } from '${specifier}'\nexport const y = x\n`,
  rule: imports,
})

const roomImports: Refused[] = [
  importing('src/config.ts', './protocol/codes.js'),
  importing('src/errors.ts', './time.js'),
  importing('src/protocol/a.ts', '../tenant/channel.js'),
  importing('src/protocol/b.ts', '../broker/memory.js'),
  importing('src/tenant/a.ts', '../protocol/codes.js'),
  importing('src/tenant/b.ts', '../redis/keys.js'),
  importing('src/resources/a.ts', '../compile/tenant.js'),
  importing('src/resources/b.ts', '../redis/keys.js'),
  importing('src/compile/a.ts', '../redis/keys.js'),
  importing('src/compile/b.ts', '../controller/reasons.js'),
  importing('src/catalog/a.ts', '../redis/keys.js'),
  importing('src/catalog/b.ts', '../compile/manifests.js'),
  importing('src/catalog/redis/a.ts', '../../compile/manifests.js'),
  importing('src/quota/a.ts', '../redis/keys.js'),
  importing('src/quota/redis/a.ts', '../../session/session.js'),
  importing('src/kube/a.ts', '../resources/chat-tenant.js'),
  importing('src/kube/b.ts', '../controller/kinds.js'),
  importing('src/kube/c.ts', '../redis/keys.js'),
  importing('src/session/commands/a.ts', '../../gateway/hub.js'),
  importing('src/gateway/api/a.ts', '../../compile/tenant.js'),
  importing('src/gateway/b2.ts', '../resources/chat-tenant.js'),
  importing('src/auth/a.ts', '../session/session.js'),
  importing('src/broker/a.ts', '../protocol/codes.js'),
  importing('src/broker/b.ts', '../tenant/channel.js'),
  importing('src/broker/memory.ts', '../redis/keys.js'),
  importing('src/presence/a.ts', '../broker/memory.js'),
  importing('src/presence/b.ts', '../tenant/channel.js'),
  importing('src/redis/a.ts', '../catalog/catalog.js'),
  importing('src/redis/deeper/a.ts', '../../broker/broker.js'),
  importing('src/session/a.ts', '../gateway/hub.js'),
  importing('src/session/b.ts', '../broker/memory.js'),
  importing('src/session/c.ts', '../presence/redis/presence.js'),
  importing('src/gateway/a.ts', '../controller/leader.js'),
  importing('src/gateway/b.ts', '../broker/redis/broker.js'),
  importing('src/gateway/c.ts', '../redis/keys.js'),
  importing('src/controller/a.ts', '../auth/token.js'),
  importing('src/controller/b.ts', '../gateway/hub.js'),
  importing('src/web/a.ts', '../protocol/codes.js'),
  importing('src/web/b.ts', 'zod'),
  importing('src/web/c.ts', 'node:fs'),
  importing('src/gateway/d.ts', '../cli/dev/command.js'),
  importing('test/a.test.ts', '../src/cli/dev/command.js'),
  importing('src/session/d.test.ts', '../gateway/hub.js'),
  importing('src/session/e.ts', './transport.fake.js'),
  importing('src/gateway/e.ts', '../broker/broker.contract.js'),
  {
    ...importing('src/session/f.ts', '../broker/memory.js'),
    code: `export { x } from '../broker/memory.js'\n`,
  },
  {
    ...importing('src/session/g.ts', '../broker/memory.js'),
    code: `import type { X } from '../broker/memory.js'\nexport const x: X = 1\n`,
  },
  {
    ...importing('src/session/h.ts', '../broker/memory.js'),
    code: `export const x = await import('../broker/memory.js')\n`,
  },
]

const vendorImports: Refused[] = [
  importing('src/gateway/http/server.ts', 'ws'),
  importing('src/broker/redis/broker.ts', 'ioredis'),
  importing('src/gateway/f.ts', 'jose'),
  importing('src/gateway/g.ts', 'jose/jwt/verify'),
  importing('src/gateway/h.ts', 'prom-client'),
  importing('src/cli/a.ts', 'pino'),
  importing('src/cli/b.ts', '@kubernetes/client-node'),
  importing('src/controller/c.ts', '@kubernetes/client-node'),
  importing('src/tenant/c.ts', 'yaml'),
  importing('src/gateway/i.ts', 'commander'),
  importing('src/protocol/c.ts', 'centrifuge'),
  importing('src/web/d.ts', 'playwright-core'),
  importing('src/gateway/websocket.ts', 'ioredis'),
  importing('src/metrics.ts', 'pino'),
]

// These words are assembled from pieces, because no file of the project may contain them.
const word = (...pieces: string[]) => pieces.join('')

const codeRules: Refused[] = [
  {
    why: 'the environment is read outside src/cli',
    file: 'src/gateway/env-a.ts',
    code: 'export const home = process.env.HOME\n',
    rule: 'eslint(no-restricted-properties)',
  },
  {
    why: 'the environment is destructured outside src/cli',
    file: 'src/gateway/env-b.ts',
    code: 'export const { env } = process\n',
    rule: 'eslint(no-restricted-properties)',
  },
  {
    why: 'the environment is imported outside src/cli',
    file: 'src/gateway/env-c.ts',
    code: `import { env } from 'node:process'\nexport const home = env.HOME\n`,
    rule: imports,
  },
  {
    why: 'the program prints to the console instead of the log',
    file: 'src/gateway/print.ts',
    code: `console.log('hello')\n`,
    rule: 'eslint(no-console)',
  },
  {
    why: 'a promise has no owner',
    file: 'src/gateway/floating.ts',
    code: 'const work = async () => 1\nexport const start = () => {\n  work()\n}\n',
    rule: 'typescript(no-floating-promises)',
  },
  {
    why: 'a promise without an owner is marked with void',
    file: 'src/gateway/void.ts',
    code: 'const work = async () => 1\nexport const start = () => {\n  void work()\n}\n',
    rule: 'typescript(no-floating-promises)',
  },
  {
    why: 'a promise is used as a condition',
    file: 'src/gateway/misused.ts',
    code: 'const ready = async () => true\nexport const x = () => {\n  if (ready()) return 1\n  return 2\n}\n',
    rule: 'typescript(no-misused-promises)',
  },
  {
    why: 'a value that is not a promise is awaited',
    file: 'src/gateway/await.ts',
    code: 'export const x = async () => await 1\n',
    rule: 'typescript(await-thenable)',
  },
  {
    why: 'a switch omits a member of the union',
    file: 'src/gateway/switch.ts',
    code: `export function f(x: 'a' | 'b') {\n  switch (x) {\n    case 'a':\n      return 1\n  }\n  return 2\n}\n`,
    rule: 'typescript(switch-exhaustiveness-check)',
  },
  {
    why: 'a type is imported as a value',
    file: 'src/gateway/types.ts',
    code: `import { Server } from 'node:http'\nexport const close = (server: Server) => server.close()\n`,
    rule: 'typescript(consistent-type-imports)',
  },
  {
    why: 'a type is imported inline',
    file: 'src/gateway/types-inline.ts',
    code: `export const close = (socket: import('ws').WebSocket) => socket.close()\n`,
    rule: 'typescript(consistent-type-imports)',
  },
  {
    why: 'a parameter has the type any',
    file: 'src/gateway/any.ts',
    code: 'export const f = (x: any) => String(x)\n',
    rule: 'typescript(no-explicit-any)',
  },
  {
    why: 'a type assertion is unchecked',
    file: 'src/gateway/cast.ts',
    code: 'export const f = (x: unknown) => x as { id: number }\n',
    rule: 'typescript(no-unsafe-type-assertion)',
  },
  {
    why: 'a value other than an error is thrown',
    file: 'src/gateway/throw.ts',
    code: `export const f = () => {\n  throw 'no'\n}\n`,
    rule: 'typescript(only-throw-error)',
  },
  {
    why: 'a file has a default export',
    file: 'src/gateway/default.ts',
    code: 'export default 1\n',
    rule: 'import(no-default-export)',
  },
  {
    why: 'a file only re-exports other files',
    file: 'src/gateway/index.ts',
    code: `export * from './ok-a.js'\n`,
    rule: 'oxc(no-barrel-file)',
  },
  {
    why: 'two files import each other',
    file: 'src/gateway/cycle-a.ts',
    code: `import { y } from './cycle-b.js'\nexport const x = () => y()\n`,
    rule: 'import(no-cycle)',
  },
  {
    why: 'the second of two files that import each other',
    file: 'src/gateway/cycle-b.ts',
    code: `import { x } from './cycle-a.js'\nexport const y = (): number => x()\n`,
    rule: 'import(no-cycle)',
  },
  {
    why: 'the first of two files that import only types of each other',
    file: 'src/gateway/type-cycle-a.ts',
    code: `import type { B } from './type-cycle-b.js'\nexport interface A {\n  readonly b: B\n}\n`,
    rule: 'import(no-cycle)',
  },
  {
    why: 'the second of two files that import only types of each other',
    file: 'src/gateway/type-cycle-b.ts',
    code: `import type { A } from './type-cycle-a.js'\nexport interface B {\n  readonly a: A\n}\n`,
    rule: 'import(no-cycle)',
  },
  {
    why: 'a file has grown past 400 lines',
    file: 'src/gateway/long.ts',
    code: `${'\n'.repeat(400)}export const x = 1\n`,
    rule: 'eslint(max-lines)',
  },
  {
    why: 'a comment announces work to do',
    file: 'src/gateway/later.ts',
    code: `// ${word('TO', 'DO')}: later\nexport const x = 1\n`,
    rule: 'eslint(no-warning-comments)',
  },
  {
    why: 'every rule is disabled at once',
    file: 'src/gateway/silence.ts',
    code: `${word('//', ' oxlint-disable-next-line')}\nexport const f = (x: any) => String(x)\n`,
    rule: 'unicorn(no-abusive-eslint-disable)',
  },
  {
    why: 'a rule is disabled by a comment for another linter',
    file: 'src/gateway/silence-other.ts',
    code: '// eslint-disable-next-line no-explicit-any\nexport const f = (x: any) => String(x)\n',
    rule: 'typescript(no-explicit-any)',
  },
  {
    why: 'a test is focused',
    file: 'src/gateway/focused.test.ts',
    code: `import { expect, test } from 'vitest'\ntest.${word('on', 'ly')}('x', () => {\n  expect(1).toBe(1)\n})\n`,
    rule: 'vitest(no-focused-tests)',
  },
  {
    why: 'a test is skipped',
    file: 'src/gateway/skipped.test.ts',
    code: `import { expect, test } from 'vitest'\ntest.${word('sk', 'ip')}('x', () => {\n  expect(1).toBe(1)\n})\n`,
    rule: 'vitest(no-disabled-tests)',
  },
  {
    why: 'a test has no assertion',
    file: 'src/gateway/nothing.test.ts',
    code: `import { test } from 'vitest'\ntest('x', () => {})\n`,
    rule: 'vitest(expect-expect)',
  },
]

const allowed: [file: string, specifier: string][] = [
  ['src/session/ok-a.ts', '../broker/broker.js'],
  ['src/session/ok-b.ts', '../presence/presence.js'],
  ['src/session/ok-c.ts', '../errors.js'],
  ['src/session/ok-d.ts', '../auth/token.js'],
  ['src/session/ok-e.test.ts', '../broker/memory.js'],
  ['src/gateway/ok-a.ts', '../session/session.js'],
  ['src/gateway/ok-b.test.ts', 'ws'],
  ['src/gateway/ok-c.test.ts', './websocket.fake.js'],
  ['src/controller/ok.ts', '../kube/ports.js'],
  ['src/presence/redis/ok.ts', '../../redis/keys.js'],
  ['src/catalog/redis/ok.ts', '../../redis/keys.js'],
  ['src/quota/redis/ok.ts', '../../redis/keys.js'],
  ['src/catalog/ok.test.ts', '../compile/manifests.js'],
  ['src/resources/yaml.ts', 'yaml'],
  ['src/log.ts', 'pino'],
  ['src/kube/ok.ts', '@kubernetes/client-node'],
  ['src/cli/ok.ts', '../broker/memory.js'],
  ['src/web/ok-a.ts', 'centrifuge'],
  ['src/web/ok-b.ts', './view.js'],
  ['test/ok.test.ts', 'playwright-core'],
]

describe('oxlint.config.mjs', () => {
  let folder: string
  let reports: Map<string, string[]>

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parley-lint-'))
    const files = [
      ...[...roomImports, ...vendorImports, ...codeRules].map(({ file, code }) => [file, code] as const),
      ...allowed.map(([file, specifier]) => [file, importing(file, specifier).code] as const),
    ]
    expect(new Set(files.map(([file]) => file)).size).toBe(files.length)
    for (const [file, code] of files) {
      await mkdir(dirname(join(folder, file)), { recursive: true })
      await writeFile(join(folder, file), code)
    }
    await Promise.all([
      ...['oxlint.config.mjs', 'tsconfig.json', 'package.json'].map((file) =>
        cp(join(root, file), join(folder, file)),
      ),
      symlink(join(root, 'node_modules'), join(folder, 'node_modules')),
    ])
    reports = await lint(folder)
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  test.each([...roomImports, ...vendorImports, ...codeRules])('refuses: $why', ({ file, rule }) => {
    expect(reports.get(file) ?? []).toContain(rule)
  })

  test.each(allowed)('allows: %s imports %s', (file) => {
    expect(reports.get(file) ?? []).not.toContain(imports)
  })
})

/**
 * Runs the linter, and returns the reported rules by file. The exit code is ignored, because it is always 1
 * here.
 */
async function lint(folder: string): Promise<Map<string, string[]>> {
  const program = join(root, 'node_modules/.bin/oxlint')
  const output = await new Promise<string>((resolve) => {
    const options = { cwd: folder, maxBuffer: 2 ** 25 }
    execFile(program, ['-c', 'oxlint.config.mjs', '-f', 'json'], options, (_error, stdout) => resolve(stdout))
  })
  const { diagnostics } = JSON.parse(output) as { diagnostics: { filename: string; code: string }[] }
  const byFile = new Map<string, string[]>()
  for (const { filename, code } of diagnostics) byFile.set(filename, [...(byFile.get(filename) ?? []), code])
  return byFile
}
