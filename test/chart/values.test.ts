// Values: each is documented, checked and used, and wrong ones are refused with a sentence that names them.
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { chartValues, type ChartValue } from '../../scripts/chart-readme.mjs'
import { chart, find, kinds, readYaml, refusal, render, root, type Tree } from './rendering.js'

describe('values.yaml', () => {
  let documented: ChartValue[]
  let schema: Tree

  beforeAll(async () => {
    documented = chartValues(await readFile(join(chart, 'values.yaml'), 'utf8'))
    schema = JSON.parse(await readFile(join(chart, 'values.schema.json'), 'utf8'))
  })

  test('has no value that no template reads', async () => {
    const folder = join(chart, 'templates')
    const names = (await readdir(folder, { recursive: true })).filter((name) =>
      /\.(yaml|tpl|txt)$/.test(name),
    )
    const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
    const unread = documented
      .map(({ path }) => path)
      // Components share helpers, which read what they are given.
      .filter((path) => !isRead(texts.join('\n'), path) && path !== 'global')
    expect(unread).toEqual([])
  })

  test('has no value that the schema does not know, and the schema none that is not here', () => {
    const known = propertyPaths(schema, schema, '')
    const here = leaves(documented)
    expect(here.filter((path) => !known.includes(path))).toEqual([])
    // What an umbrella chart switches this one by is no value of ours.
    const missing = known.filter((path) => !here.some((other) => `${other}.`.startsWith(`${path}.`)))
    const optional = [
      'enabled',
      /\.(claims|tolerance)$/,
      /^monitoring\.\w+\.\w+$/,
      /^autoscaling\.behavior\./,
    ]
    const isOptional = (path: string) =>
      optional.some((rule) => (typeof rule === 'string' ? rule === path : rule.test(path)))
    const below = (path: string) => documented.some((value) => path.startsWith(`${value.path}.`))
    expect(missing.filter((path) => !isOptional(path) && !below(path))).toEqual([])
  })

  test('refuses unknown names at every level', () => {
    expect(openObjects(schema, schema, '')).toEqual(['global'])
  })

  test('takes the defaults', async () => {
    expect(await refusal({})).toBeUndefined()
  })
})

describe('refused, by name', () => {
  test.each<[why: string, values: Tree, sentence: RegExp]>([
    ['a name is misspelt', { gatway: {} }, /gatway/],
    ['a name is misspelt below', { redis: { embedded: { persistance: {} } } }, /persistance/],
    ['a number is text', { gateway: { replicas: 'two' } }, /gateway.*replicas/s],
    [
      'a window is longer than the program takes',
      { gateway: { drainWindowSeconds: 3601 } },
      /drainWindowSeconds/,
    ],
    [
      'a margin is too short for goodbyes',
      { gateway: { terminationMarginSeconds: 1 } },
      /terminationMarginSeconds/,
    ],
    ['a choice is unknown', { autoscaling: { provider: 'hpa' } }, /provider/],
    ['a log level is unknown', { controller: { logLevel: 'verbose' } }, /logLevel/],
    ['a digest is none', { image: { digest: 'latest' } }, /digest/],
    ['an installation has capitals', { installation: 'Europe' }, /installation/],
    ['a URL stands for an address', { redis: { mode: 'standalone', addresses: ['redis://a'] } }, /addresses/],
    ['an address is given twice', { redis: { mode: 'cluster', addresses: ['a', 'a'] } }, /addresses/],
    ['an environment variable has no name', { gateway: { extraEnv: [{ value: 'x' }] } }, /extraEnv/],
    ['the public URL is no WebSocket’s', { controller: { publicUrl: 'https://a' } }, /publicUrl/],
    ['a Sentinel may be silent for too long', { redis: { embedded: { downAfterMs: 9000 } } }, /downAfterMs/],
    [
      'a policy of scaling has no period',
      { autoscaling: { behavior: { scaleUp: { policies: [{ type: 'Pods', value: 1 }] } } } },
      /periodSeconds/,
    ],
    [
      'fewest pods are more than most',
      { autoscaling: { minReplicas: 11 } },
      /minReplicas is 11, and maxReplicas only 10/,
    ],
    [
      'KEDA has nobody to ask',
      { autoscaling: { provider: 'keda' } },
      /keda\.serverAddress must name the Prometheus/,
    ],
    ['your Redis is not named', { redis: { mode: 'sentinel' } }, /redis\.addresses must name your Redis/],
    ['your Redis is named and not used', { redis: { addresses: ['a'] } }, /set redis\.mode/],
    [
      'the master has no name',
      { redis: { mode: 'sentinel', addresses: ['a'] } },
      /redis\.masterName must say/,
    ],
    [
      'one Redis is two',
      { redis: { mode: 'standalone', addresses: ['a', 'b'] } },
      /set redis\.mode to sentinel or cluster/,
    ],
    [
      'a user has no password',
      { redis: { mode: 'standalone', addresses: ['a'], username: 'u' } },
      /existingSecret must hold the password/,
    ],
    [
      'an authority is for nothing',
      { redis: { mode: 'standalone', addresses: ['a'], tls: { ca: { secretName: 'ca' } } } },
      /tls\.enabled is false/,
    ],
    [
      'a certificate is for nothing',
      {
        redis: {
          mode: 'standalone',
          addresses: ['a'],
          tls: { clientCertificate: { secretName: 'client' } },
        },
      },
      /clientCertificate is given, but redis\.tls\.enabled is false/,
    ],
    [
      'an authority comes twice',
      {
        redis: {
          mode: 'standalone',
          addresses: ['a'],
          tls: { enabled: true, ca: { secretName: 'ca', configMapName: 'ca' } },
        },
      },
      /given twice/,
    ],
    [
      'the embedded Redis is to speak TLS',
      { redis: { tls: { enabled: true } } },
      /the embedded one speaks none/,
    ],
    ['the embedded Redis is to know a user', { redis: { username: 'u' } }, /the user default alone/],
    [
      'nobody says who is served',
      { controller: { enabled: false } },
      /tenants\.existingSecret must name a Secret/,
    ],
    ['two say who is served', { tenants: { existingSecret: 'mine' } }, /set controller\.enabled to false/],
    [
      'a route hangs on nothing',
      { httpRoute: { enabled: true } },
      /httpRoute\.parentRefs must name the Gateway/,
    ],
    ['an Ingress has no host', { ingress: { enabled: true } }, /ingress\.hosts must name/],
  ])('when %s', async (_why, values, sentence) => {
    expect(await refusal(values)).toMatch(sentence)
  })
})

describe('umbrella charts', () => {
  test('may share what they like, and switch the chart', async () => {
    expect(
      await refusal({ global: { imageRegistry: 'a', deep: { er: [1] } }, enabled: true }),
    ).toBeUndefined()
  })
})

describe('names', () => {
  test.each([
    [{ name: 'parley' }, {}, 'parley-gateway'],
    [{ name: 'team' }, {}, 'team-parley-gateway'],
    [{ name: 'my-parley' }, {}, 'my-parley-gateway'],
    [{ name: 'team' }, { nameOverride: 'chat' }, 'team-chat-gateway'],
    [{ name: 'team' }, { fullnameOverride: 'chat' }, 'chat-gateway'],
  ])('of release %o with %o begin like %s', async (release, values, name) => {
    expect(find(await render(values, release), 'Deployment', '-gateway').metadata.name).toBe(name)
  })

  test('are cut so that all of them fit, and stay apart', async () => {
    const objects = await render({}, { name: 'a'.repeat(53) })
    // Labels, and names of Services, end at 63; those of roles do not.
    for (const { kind, metadata } of objects)
      expect(metadata.name.length).toBeLessThanOrEqual(kind.includes('Role') ? 253 : 63)
    expect(kinds(objects)).toEqual([...new Set(kinds(objects))])
  })
})

test('chart and program have one version', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  expect(await readYaml('Chart.yaml')).toMatchObject({ version, appVersion: version })
})

test('README, CRDs and manifests/install are what `npm run chart` would write', async () => {
  const { stderr } = await promisify(execFile)(process.execPath, ['scripts/chart.mjs', '--check'], {
    cwd: root,
  })
  expect(stderr).toBe('')
})

/** By its full path, or by its name in a helper that is given the object above it. */
function isRead(text: string, path: string): boolean {
  const word = (name: string) => new RegExp(String.raw`\.${name.replaceAll('.', String.raw`\.`)}(?![\w.])`)
  if (word(`Values.${path}`).test(text)) return true
  const above = path.split('.').slice(0, -1).join('.')
  const last = path.split('.').at(-1) ?? ''
  return above.includes('.') || ['gateway', 'controller'].includes(above)
    ? word(`Values.${above}`).test(text) && word(last).test(text)
    : false
}

function leaves(values: ChartValue[]): string[] {
  return values.map(({ path }) => path)
}

/** Names of all properties that the schema lists. */
function propertyPaths(node: Tree, schema: Tree, path: string): string[] {
  const { properties } = resolved(node, schema)
  const own = Object.entries<Tree>(properties ?? {}).flatMap(([name, below]) => {
    const full = path === '' ? name : `${path}.${name}`
    return [full, ...propertyPaths(below, schema, full)]
  })
  return own
}

/** Objects that take any name, and say of none what it holds. */
function openObjects(node: Tree, schema: Tree, path: string): string[] {
  const { additionalProperties, properties, type } = resolved(node, schema)
  const isOpen = type === 'object' && additionalProperties === undefined && !passedOn.has(path)
  return [
    ...(isOpen ? [path] : []),
    ...Object.entries<Tree>(properties ?? {}).flatMap(([name, below]) =>
      openObjects(below, schema, path === '' ? name : `${path}.${name}`),
    ),
  ]
}

/** Handed to Kubernetes or KEDA as they are, which know their names best. */
const passedOn = new Set(['gateway.affinity', 'controller.affinity', 'autoscaling.keda.trigger'])

function resolved(node: Tree, schema: Tree): Tree {
  return node.$ref ? schema.definitions[node.$ref.split('/').at(-1)] : node
}
