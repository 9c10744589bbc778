import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ConfigError } from '../errors.js'
import { compileManifests } from '../compile/manifests.js'
import { FilesCatalog } from './files.js'
import { fileProblemText } from '../resources/problem.js'

const plan = `apiVersion: parley.chat/v1alpha1
kind: ChatPlan
metadata: { name: free }
spec: {}
`

function tenant(name: string, spec = ''): string {
  return `apiVersion: parley.chat/v1alpha1
kind: ChatTenant
metadata: { name: ${name}, namespace: demo }
spec:
  planRef: { name: free }
${spec}`
}

let dir: string
let running: AbortController
let runs: Promise<void>[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'parley-catalog-'))
  running = new AbortController()
  runs = []
})

afterEach(async () => {
  running.abort()
  await Promise.all(runs)
  rmSync(dir, { recursive: true, force: true })
})

function write(name: string, ...documents: string[]): void {
  writeFileSync(join(dir, name), documents.join('---\n'))
}

function textsOf(catalog: FilesCatalog): string[] {
  return catalog.problems.map((problem) => fileProblemText(problem))
}

/** Records changes such as `put demo/acme`, in order. */
function record(catalog: FilesCatalog): string[] {
  const changes: string[] = []
  catalog.listen({
    changed: ({ kind, policy }) => changes.push(`${kind} ${policy.namespace}/${policy.name}`),
  })
  return changes
}

function startPolling(catalog: FilesCatalog): void {
  runs.push(catalog.run(running.signal))
}

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 5000, interval: 10 })

describe('open', () => {
  test('serves the tenants of all files', () => {
    write('plans.yaml', plan)
    write('tenants.yml', tenant('acme'), tenant('globex'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    expect(catalog.problems).toEqual([])
    expect([...catalog.all()].map(({ name }) => name)).toEqual(['acme', 'globex'])
    expect(catalog.get('demo/acme')).toMatchObject({ namespace: 'demo', name: 'acme' })
    expect(catalog.get('demo/other')).toBeUndefined()
  })

  test('does not read subfolders, hidden files or other files', () => {
    write('plans.yaml', plan)
    write('.acme.yaml', tenant('acme'))
    write('acme.json', tenant('acme'))
    mkdirSync(join(dir, 'sub'))
    write('sub/acme.yaml', tenant('acme'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    expect([...catalog.all()]).toEqual([])
    expect(catalog.problems).toEqual([])
  })

  test('a missing folder is a ConfigError', () => {
    expect(() => FilesCatalog.open(join(dir, 'none'), { compile: compileManifests })).toThrow(ConfigError)
    expect(() => FilesCatalog.open(join(dir, 'none'), { compile: compileManifests })).toThrow(
      /cannot be read: ENOENT/,
    )
  })

  test('a file that cannot be read is a problem, not a crash', () => {
    write('plans.yaml', plan, tenant('acme'))
    symlinkSync(join(dir, 'nowhere'), join(dir, 'dangling.yaml'))
    mkdirSync(join(dir, 'folder.yaml'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    expect(textsOf(catalog)).toEqual([
      'dangling.yaml: The file or folder cannot be read: ENOENT.',
      'folder.yaml: The file or folder cannot be read: EISDIR.',
    ])
    expect(catalog.get('demo/acme')).toBeDefined()
  })

  test('a tenant without a namespace is in "default"', () => {
    write('all.yaml', plan, tenant('acme').replace(', namespace: demo', ''))
    expect(FilesCatalog.open(dir, { compile: compileManifests }).get('default/acme')).toBeDefined()
  })
})

describe('secrets', () => {
  const auth = `  auth: [{ name: app, type: SharedKey, keyRef: { name: keys, key: hmac } }]\n`
  const secret = (fields: string, annotations = ''): string => `apiVersion: v1
kind: Secret
metadata: { name: keys, namespace: demo${annotations} }
${fields}
`
  const text = 'an-example-of-a-key-with-32-bytes'
  const base64 = Buffer.from(text).toString('base64')

  test.each([
    ['data', `data: { hmac: ${base64} }`],
    ['stringData', `stringData: { hmac: ${text} }`],
    ['stringData before data', `data: { hmac: AAAA }\nstringData: { hmac: ${text} }`],
  ])('are read from %s', (_, fields) => {
    write('all.yaml', plan, tenant('acme', auth), secret(fields))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    expect(catalog.problems).toEqual([])
    expect(catalog.get('demo/acme')?.issuers[0]?.key).toEqual({
      type: 'SharedKey',
      secret: base64,
      sample: false,
    })
  })

  test('are marked as samples by annotation', () => {
    write(
      'all.yaml',
      plan,
      tenant('acme', auth),
      secret(`stringData: { hmac: ${text} }`, ', annotations: { parley.chat/sample: "true" }'),
    )
    expect(
      FilesCatalog.open(dir, { compile: compileManifests }).get('demo/acme')?.issuers[0]?.key,
    ).toMatchObject({ sample: true })
  })

  test('of another namespace are not used', () => {
    write(
      'all.yaml',
      plan,
      tenant('acme', auth),
      secret(`stringData: { hmac: ${text} }`).replace('demo', 'other'),
    )
    expect(textsOf(FilesCatalog.open(dir, { compile: compileManifests }))).toEqual([
      expect.stringContaining('needs key "hmac" of Secret "keys", which does not exist'),
    ])
  })

  test('that are invalid are reported without their content', () => {
    write(
      'all.yaml',
      plan,
      secret('data: { hmac: "no base64, hunter2" }'),
      secret('stringData: { hmac: hunter2, hmac: hunter2 }'),
    )
    const texts = textsOf(FilesCatalog.open(dir, { compile: compileManifests }))
    expect(texts).toEqual([
      expect.stringContaining('data.hmac: Values under "data" must be base64'),
      expect.stringContaining('unique'),
    ])
    expect(texts.join()).not.toContain('hunter2')
  })
})

describe('namespaces', () => {
  const gold = plan.replace(
    'spec: {}',
    'spec: { allowedNamespaces: { from: Selector, selector: { matchLabels: { tier: gold } } } }',
  )

  test('have labels by which plans select them', () => {
    write('all.yaml', gold, tenant('acme'))
    expect(FilesCatalog.open(dir, { compile: compileManifests }).problems).toMatchObject([
      { reason: 'NamespaceNotAllowed' },
    ])
    write(
      'namespace.yaml',
      'apiVersion: v1\nkind: Namespace\nmetadata: { name: demo, labels: { tier: gold } }\n',
    )
    expect(FilesCatalog.open(dir, { compile: compileManifests }).get('demo/acme')).toBeDefined()
  })

  test('have their name as a label, as in Kubernetes', () => {
    write('all.yaml', gold.replace('tier: gold', 'kubernetes.io/metadata.name: demo'), tenant('acme'))
    expect(FilesCatalog.open(dir, { compile: compileManifests }).get('demo/acme')).toBeDefined()
  })
})

describe('problems', () => {
  test.each<[string, string, string]>([
    [
      'an unknown field',
      tenant('acme', '  displayname: Acme\n'),
      'a.yaml:6: spec.displayname: Unknown field "displayname": check its spelling',
    ],
    [
      'a wrong type',
      tenant('acme', '  suspend: "yes"\n'),
      'a.yaml:6: spec.suspend: This field must be true or false, but it is text.',
    ],
    [
      'a missing field',
      tenant('acme').replace('planRef: { name: free }', 'suspend: true'),
      'a.yaml:4: spec.planRef: This field is required: a map.',
    ],
    [
      'a field deep inside',
      tenant('acme', '  channels:\n    - name: a\n      match:\n        type: Glob\n        value: a\n'),
      'a.yaml:9: spec.channels[0].match.type: ',
    ],
    [
      'a quota above the plan',
      tenant('acme', '  quota:\n    connections:\n      max: 2000\n'),
      'a.yaml:8: spec.quota.connections.max: The quota asks for',
    ],
    [
      'a durability that is not available',
      tenant(
        'acme',
        '  channels:\n    - name: a\n      match: { type: Literal, value: a }\n      durability: Durable\n',
      ),
      'a.yaml:9: spec.channels[0].durability: Rule "a" asks for durability Durable, but this installation has no archive',
    ],
    [
      'an unknown plan',
      tenant('acme').replace('free', 'gold'),
      'a.yaml:5: spec.planRef.name: There is no ChatPlan "gold".',
    ],
    [
      'another kind',
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\n',
      'a.yaml:2: kind: apps/v1 Deployment is not one of the kinds',
    ],
    [
      'a kind without metadata',
      'apiVersion: v1\nkind: List\nitems: []\n',
      'a.yaml:2: kind: v1 List is not one of the kinds',
    ],
    [
      'another version',
      tenant('acme').replace('v1alpha1', 'v2'),
      'a.yaml:2: kind: parley.chat/v2 ChatTenant is not one of the kinds',
    ],
    ['a kind from the prototype', tenant('acme').replace('ChatTenant', 'constructor'), 'a.yaml:2: kind: '],
    ['no resource at all', '- 1\n- 2\n', 'a.yaml:1: This field must be a map, but it is a list.'],
    ['a tab for indentation', 'kind: x\n\tname: y\n', 'a.yaml:2: '],
    [
      'a key twice',
      tenant('acme', '  suspend: true\n  suspend: false\n'),
      'a.yaml:7: Map keys must be unique',
    ],
    [
      'a credential without its tenant',
      'apiVersion: parley.chat/v1alpha1\nkind: ChatCredential\nmetadata: { name: bot }\nspec: { tenantRef: { name: x } }\n',
      'a.yaml:4: spec.tenantRef.name: There is no ChatTenant "default/x".',
    ],
    [
      'a brace without quotes',
      tenant('acme', '  channels:\n    - name: a\n      match: { type: Pattern, value: {user} }\n'),
      'quotes: value: "team:{claims.team}"',
    ],
    [
      'a variable without quotes in a flow map',
      tenant(
        'acme',
        '  channels:\n    - name: a\n      match: { type: Pattern, value: team:{claims.team} }\n',
      ),
      'quotes: value: "team:{claims.team}"',
    ],
    [
      'a star without quotes',
      tenant('acme', '  allowedOrigins:\n    - *\n'),
      'quotes: value: "team:{claims.team}"',
    ],
    [
      'aliases that multiply',
      `a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [${'*a,'.repeat(20)}]\nc: &c [${'*b,'.repeat(20)}]\nd: [${'*c,'.repeat(20)}]\n`,
      'alias',
    ],
  ])('reports %s with its line', (_, text, message) => {
    write('a.yaml', text)
    write('b.yaml', plan, tenant('globex'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    expect(textsOf(catalog)[0]).toContain(message)
    expect(catalog.get('demo/globex')).toBeDefined()
  })

  test('an invalid document does not affect the valid ones of its file', () => {
    write('all.yaml', plan, tenant('acme', '  nonsense: 1\n'), 'a: [\n', tenant('globex'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    expect(catalog.problems).toHaveLength(2)
    expect([...catalog.all()].map(({ name }) => name)).toEqual(['globex'])
  })

  test('when two documents define one resource, the first one applies', () => {
    write('a.yaml', plan, tenant('acme', '  displayName: First\n'))
    write('b.yaml', tenant('acme', '  displayName: Second\n'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    expect(catalog.get('demo/acme')?.displayName).toBe('First')
    expect(textsOf(catalog)).toEqual([
      'b.yaml:3: metadata.name: ChatTenant "demo/acme" is already defined in a.yaml:6, which is used. Delete or rename one of them.',
    ])
  })

  test('empty files and documents are allowed', () => {
    write('a.yaml', '')
    write('b.yaml', '# nothing\n', '\n', plan)
    expect(FilesCatalog.open(dir, { compile: compileManifests }).problems).toEqual([])
  })
})

describe('reload', () => {
  test('notifies once of each tenant that changed, and of no other', () => {
    write('all.yaml', plan, tenant('acme'), tenant('globex'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    const changes = record(catalog)
    write('all.yaml', plan, tenant('acme', '  suspend: true\n'), tenant('globex'), tenant('hooli'))
    catalog.reload()
    expect(changes).toEqual(['put demo/acme', 'put demo/hooli'])
    write('all.yaml', plan, tenant('acme', '  suspend: true\n'))
    catalog.reload()
    catalog.reload()
    expect(changes).toEqual(['put demo/acme', 'put demo/hooli', 'remove demo/globex', 'remove demo/hooli'])
    expect(catalog.get('demo/globex')).toBeUndefined()
  })

  test('holds the new state when it notifies of it', () => {
    write('all.yaml', plan, tenant('acme'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    const held: (boolean | undefined)[] = []
    catalog.listen({ changed: () => held.push(catalog.get('demo/acme')?.suspended) })
    write('all.yaml', plan, tenant('acme', '  suspend: true\n'))
    catalog.reload()
    expect(held).toEqual([true])
  })

  test.each<[string, () => void]>([
    ['has an invalid field', () => write('acme.yaml', tenant('acme', '  suspend: maybe\n'))],
    ['has invalid YAML', () => write('acme.yaml', `${tenant('acme')}  : [\n`)],
    ['has no name', () => write('acme.yaml', tenant('acme').replace('name: acme, ', ''))],
    [
      'asks for durability Durable',
      () =>
        write(
          'acme.yaml',
          tenant(
            'acme',
            '  channels:\n    - name: a\n      match: { type: Literal, value: a }\n      durability: Durable\n',
          ),
        ),
    ],
    ['removes the plan', () => unlinkSync(join(dir, 'plan.yaml'))],
    [
      'makes the file unreadable',
      () => {
        unlinkSync(join(dir, 'acme.yaml'))
        symlinkSync(join(dir, 'nowhere'), join(dir, 'acme.yaml'))
      },
    ],
    ['removes the folder', () => rmSync(dir, { recursive: true })],
  ])('an edit that %s keeps the last good revision of the tenant', (_, edit) => {
    write('plan.yaml', plan)
    write('acme.yaml', tenant('acme'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    const changes = record(catalog)
    edit()
    catalog.reload()
    expect(catalog.problems).not.toEqual([])
    expect(catalog.get('demo/acme')).toBeDefined()
    expect(changes).toEqual([])
  })

  test('removes a deleted tenant once the other errors are fixed', () => {
    write('all.yaml', plan, tenant('acme'), tenant('globex'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    const changes = record(catalog)
    write('all.yaml', plan, tenant('globex'), 'a: [\n')
    catalog.reload()
    expect(catalog.get('demo/acme')).toBeDefined()
    write('all.yaml', plan, tenant('globex'))
    catalog.reload()
    expect(changes).toEqual(['remove demo/acme'])
  })

  test('a tenant that moves to another file stays', () => {
    write('plan.yaml', plan)
    write('a.yaml', tenant('acme'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests })
    const changes = record(catalog)
    renameSync(join(dir, 'a.yaml'), join(dir, 'z.yaml'))
    catalog.reload()
    expect(changes).toEqual([])
  })
})

describe('run', () => {
  test('notices edits, new files and removals', async () => {
    write('all.yaml', plan, tenant('acme'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests, pollMs: 5 })
    const changes = record(catalog)
    startPolling(catalog)
    write('all.yaml', plan, tenant('acme', '  suspend: true\n'))
    await eventually(() => expect(changes).toEqual(['put demo/acme']))
    write('more.yaml', tenant('globex'))
    await eventually(() => expect(changes).toContain('put demo/globex'))
    unlinkSync(join(dir, 'more.yaml'))
    await eventually(() => expect(changes).toContain('remove demo/globex'))
  })

  test('notices when the link of a ConfigMap changes to the next version', async () => {
    for (const [version, text] of [
      ['v1', tenant('acme')],
      ['v2', tenant('acme', '  suspend: true\n')],
    ] as const) {
      mkdirSync(join(dir, version))
      write(`${version}/acme.yaml`, plan, text)
    }
    symlinkSync('v1', join(dir, '..data'))
    symlinkSync('..data/acme.yaml', join(dir, 'acme.yaml'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests, pollMs: 5 })
    startPolling(catalog)
    expect(catalog.get('demo/acme')?.suspended).toBe(false)
    symlinkSync('v2', join(dir, '..next'))
    renameSync(join(dir, '..next'), join(dir, '..data'))
    await eventually(() => expect(catalog.get('demo/acme')?.suspended).toBe(true))
  })

  test('reports an invalid edit that changes no tenant', async () => {
    write('all.yaml', plan, tenant('acme'))
    const catalog = FilesCatalog.open(dir, { compile: compileManifests, pollMs: 5 })
    const reloads: string[][] = []
    catalog.onReload(() => reloads.push(textsOf(catalog)))
    startPolling(catalog)
    write('all.yaml', plan, tenant('acme', '  suspend: maybe\n'))
    await eventually(() => expect(reloads).toEqual([[expect.stringContaining('all.yaml:11: spec.suspend')]]))
  })

  test('resolves when its signal is aborted', async () => {
    const catalog = FilesCatalog.open(dir, { compile: compileManifests, pollMs: 60_000 })
    const done = catalog.run(running.signal)
    running.abort()
    await expect(done).resolves.toBeUndefined()
  })
})
