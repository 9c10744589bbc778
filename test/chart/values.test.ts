// Every value is documented, checked and used. Wrong values are refused with a message that names them.
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

  test('has only values that a template reads', async () => {
    const folder = join(chart, 'templates')
    const names = (await readdir(folder, { recursive: true })).filter((name) =>
      /\.(yaml|tpl|txt)$/.test(name),
    )
    const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
    const unread = documented
      .map(({ path }) => path)
      // Helpers that components share read a value through their arguments.
      .filter((path) => !isRead(texts.join('\n'), path) && path !== 'global')
    expect(unread).toEqual([])
  })

  test('has the same values as the schema', () => {
    const known = propertyPaths(schema, schema, '')
    const listed = documented.map(({ path }) => path)
    expect(listed.filter((path) => !known.includes(path))).toEqual([])
    // `enabled` belongs to umbrella charts, which switch this chart with it.
    const missing = known.filter((path) => !listed.some((other) => `${other}.`.startsWith(`${path}.`)))
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

  test('accepts the defaults', async () => {
    expect(await refusal({})).toBeUndefined()
  })
})

describe('values are refused with a message that names them', () => {
  test.each<[why: string, values: Tree, sentence: RegExp]>([
    ['a name is misspelt', { gatway: {} }, /gatway/],
    ['a name is misspelt below', { redis: { embedded: { persistance: {} } } }, /persistance/],
    ['a number is text', { gateway: { replicas: 'two' } }, /gateway.*replicas/s],
    [
      'a window is longer than the program accepts',
      { gateway: { drainWindowSeconds: 3601 } },
      /drainWindowSeconds/,
    ],
    [
      'the termination margin is too short',
      { gateway: { terminationMarginSeconds: 1 } },
      /terminationMarginSeconds/,
    ],
    ['a choice is unknown', { autoscaling: { provider: 'hpa' } }, /provider/],
    ['a log level is unknown', { controller: { logLevel: 'verbose' } }, /logLevel/],
    ['a digest is malformed', { image: { digest: 'latest' } }, /digest/],
    ['an installation has capital letters', { installation: 'Europe' }, /installation/],
    ['an address is a URL', { redis: { mode: 'standalone', addresses: ['redis://a'] } }, /addresses/],
    ['an address is listed twice', { redis: { mode: 'cluster', addresses: ['a', 'a'] } }, /addresses/],
    ['an environment variable has no name', { gateway: { extraEnv: [{ value: 'x' }] } }, /extraEnv/],
    ['the public URL is not a WebSocket URL', { controller: { publicUrl: 'https://a' } }, /publicUrl/],
    [
      'downAfterMs of the Sentinels is too long',
      { redis: { embedded: { downAfterMs: 9000 } } },
      /downAfterMs/,
    ],
    [
      'a scaling policy has no period',
      { autoscaling: { behavior: { scaleUp: { policies: [{ type: 'Pods', value: 1 }] } } } },
      /periodSeconds/,
    ],
    [
      'minReplicas is greater than maxReplicas',
      { autoscaling: { minReplicas: 11 } },
      /minReplicas is 11, but autoscaling.maxReplicas is only 10/,
    ],
    [
      'KEDA has no Prometheus',
      { autoscaling: { provider: 'keda' } },
      /keda\.serverAddress must name the Prometheus/,
    ],
    [
      'an external Redis has no address',
      { redis: { mode: 'sentinel' } },
      /redis\.addresses must name your Redis/,
    ],
    ['addresses are set for the embedded Redis', { redis: { addresses: ['a'] } }, /set redis\.mode/],
    [
      'the master has no name',
      { redis: { mode: 'sentinel', addresses: ['a'] } },
      /redis\.masterName must be the name/,
    ],
    [
      'a standalone Redis has two addresses',
      { redis: { mode: 'standalone', addresses: ['a', 'b'] } },
      /set redis\.mode to sentinel or cluster/,
    ],
    [
      'a user has no password',
      { redis: { mode: 'standalone', addresses: ['a'], username: 'u' } },
      /existingSecret must name a Secret with the password/,
    ],
    [
      'a certificate authority is set without TLS',
      { redis: { mode: 'standalone', addresses: ['a'], tls: { ca: { secretName: 'ca' } } } },
      /tls\.enabled is false/,
    ],
    [
      'a client certificate is set without TLS',
      {
        redis: {
          mode: 'standalone',
          addresses: ['a'],
          tls: { clientCertificate: { secretName: 'client' } },
        },
      },
      /clientCertificate is set, but redis\.tls\.enabled is false/,
    ],
    [
      'a certificate authority is set twice',
      {
        redis: {
          mode: 'standalone',
          addresses: ['a'],
          tls: { enabled: true, ca: { secretName: 'ca', configMapName: 'ca' } },
        },
      },
      /names both a Secret and a ConfigMap/,
    ],
    [
      'TLS is enabled for the embedded Redis',
      { redis: { tls: { enabled: true } } },
      /the embedded Redis does not support TLS/,
    ],
    ['a user is set for the embedded Redis', { redis: { username: 'u' } }, /has only the user default/],
    [
      'there are neither a controller nor manifests',
      { controller: { enabled: false } },
      /tenants\.existingSecret must name a Secret/,
    ],
    [
      'there are both a controller and manifests',
      { tenants: { existingSecret: 'mine' } },
      /set controller\.enabled to false/,
    ],
    [
      'an HTTPRoute has no parent',
      { httpRoute: { enabled: true } },
      /httpRoute\.parentRefs must name the Gateway/,
    ],
    ['an Ingress has no host', { ingress: { enabled: true } }, /ingress\.hosts must name/],
  ])('when %s', async (_why, values, sentence) => {
    expect(await refusal(values)).toMatch(sentence)
  })
})

describe('umbrella charts', () => {
  test('can set any global value, and enable the chart', async () => {
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
  ])('of release %o with values %o: %s', async (release, values, name) => {
    expect(find(await render(values, release), 'Deployment', '-gateway').metadata.name).toBe(name)
  })

  test('are truncated to the maximum length and stay unique', async () => {
    const objects = await render({}, { name: 'a'.repeat(53) })
    // Labels and names of Services have at most 63 characters. Names of roles may be longer.
    for (const { kind, metadata } of objects)
      expect(metadata.name.length).toBeLessThanOrEqual(kind.includes('Role') ? 253 : 63)
    expect(kinds(objects)).toEqual([...new Set(kinds(objects))])
  })
})

test('the chart and the program have the same version', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  expect(await readYaml('Chart.yaml')).toMatchObject({ version, appVersion: version })
})

test('the README, the CRDs and manifests/install are up to date with `npm run chart`', async () => {
  const { stderr } = await promisify(execFile)(process.execPath, ['scripts/chart.mjs', '--check'], {
    cwd: root,
  })
  expect(stderr).toBe('')
})

/**
 * True when `text` reads the value by its full path, or by its name in a helper that gets the parent object.
 */
function isRead(text: string, path: string): boolean {
  const word = (name: string) => new RegExp(String.raw`\.${name.replaceAll('.', String.raw`\.`)}(?![\w.])`)
  if (word(`Values.${path}`).test(text)) return true
  const above = path.split('.').slice(0, -1).join('.')
  const last = path.split('.').at(-1) ?? ''
  return above.includes('.') || ['gateway', 'controller'].includes(above)
    ? word(`Values.${above}`).test(text) && word(last).test(text)
    : false
}

/** Paths of all properties of the schema. */
function propertyPaths(node: Tree, schema: Tree, path: string): string[] {
  const { properties } = resolved(node, schema)
  const own = Object.entries<Tree>(properties ?? {}).flatMap(([name, below]) => {
    const full = path === '' ? name : `${path}.${name}`
    return [full, ...propertyPaths(below, schema, full)]
  })
  return own
}

/** Paths of the objects that accept unknown names. */
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

/** Values that the chart passes to Kubernetes or KEDA unchanged, so the schema does not list their names. */
const passedOn = new Set(['gateway.affinity', 'controller.affinity', 'autoscaling.keda.trigger'])

function resolved(node: Tree, schema: Tree): Tree {
  return node.$ref ? schema.definitions[node.$ref.split('/').at(-1)] : node
}
