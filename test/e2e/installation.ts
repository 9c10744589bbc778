// The release under test: installed from the chart, with the images that the run was given. There is one at a time, in a namespace of its own.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { KubeObject } from '../support/kube-client.js'
import { namespace as namespaceObject } from '../support/kube-parley.js'
import { apply, eventually, find, get, helm, kubectl, list, lookInto } from './cluster.js'
import { tenantNamespaces } from './tenants.js'
import { removeVolumes } from './volumes.js'

export const release = 'parley'
export const namespace = 'parley-e2e'
export const inside = ['--namespace', namespace] as const

export const chart = fileURLToPath(new URL('../../charts/parley', import.meta.url))
const crds = ['chattenants', 'chatplans', 'chatcredentials'].map((plural) => `crd/${plural}.parley.chat`)

/** Far above what a rollout takes on two busy cores. */
export const rolloutDeadlineMs = 300_000

/** `docker.io/parley/parley:1` as values have it. */
function imageOf(variable: string): { repository: string; tag: string } | undefined {
  const name = process.env[variable]
  if (name === undefined || name === '') return undefined
  const colon = name.lastIndexOf(':')
  if (colon < name.lastIndexOf('/')) throw new Error(`${variable} is ${name}: its tag is missing`)
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1) }
}

/** What every run has, on top of ci/trial.yaml. */
function ownValues(): object {
  const redisImage = imageOf('PARLEY_REDIS_IMAGE')
  return {
    image: imageOf('PARLEY_IMAGE'),
    ...(redisImage && { redis: { embedded: { image: redisImage } } }),
  }
}

export interface Upgrading {
  /** Default: the chart of this clone. */
  readonly from?: string
  /** On top of the run's own; each of them on top of those before it. */
  readonly values?: readonly object[]
}

/** `helm upgrade --install`; resolves when all that it made is ready. */
export async function install({ from = chart, values = [] }: Upgrading = {}): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'parley-e2e-'))
  try {
    const files = await Promise.all(
      [ownValues(), ...values].map(async (one, index) => {
        const file = join(folder, `${index}.yaml`)
        await writeFile(file, stringify(one))
        return `--values=${file}`
      }),
    )
    const trial = `--values=${join(chart, 'ci/trial.yaml')}`
    const waiting = ['--wait', `--timeout=${rolloutDeadlineMs / 1_000}s`]
    await helm(['upgrade', '--install', release, from, ...inside, trial, ...files, ...waiting])
  } catch (error) {
    console.error(await lookInto(namespace))
    throw error
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Begins with nothing but namespaces: what an earlier run left is removed, and what is somebody else's is left alone. */
export async function clear(): Promise<void> {
  await removeAll()
  // The chart's own claim, held by the API server.
  const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' }
  await apply(
    namespaceObject(namespace, restricted),
    ...tenantNamespaces.map((name) => namespaceObject(name)),
  )
}

export async function freshInstall(values: object): Promise<void> {
  await clear()
  await install({ values: [values] })
}

/** CRDs are the cluster's: another installation's tenants would go with them. */
async function refuseForeign(): Promise<void> {
  const crd = await find(crds[0] ?? '')
  const owner = (crd?.metadata['annotations'] as Record<string, string> | undefined)?.[
    'meta.helm.sh/release-namespace'
  ]
  if (crd && owner !== namespace)
    throw new Error(
      `This cluster has a Parley already (in ${owner ?? 'an unknown namespace'}): name one that has none.`,
    )
}

/** Everything of the run, tenants and CRDs too; nothing where they are somebody else's. */
export async function removeAll(): Promise<void> {
  await refuseForeign()
  if ((await find(`namespace/${namespace}`)) !== undefined)
    await helm(['uninstall', release, ...inside, '--ignore-not-found', '--wait', '--timeout=300s'])
  await kubectl(['delete', '--ignore-not-found', ...crds])
  const namespaces = [namespace, ...tenantNamespaces].map((name) => `namespace/${name}`)
  await kubectl(['delete', '--ignore-not-found', '--timeout=300s', ...namespaces])
  await removeVolumes()
}

/** Where clients reach the gateways: PARLEY_E2E_URL, or the Service's own address, which is for runners on the cluster's network. */
export async function serviceUrl(): Promise<string> {
  const named = process.env['PARLEY_E2E_URL']
  if (named) return named.replace(/\/$/, '')
  const { spec } = await get(`service/${release}-gateway`, ...inside)
  return `ws://${spec.clusterIP}:${spec.ports[0].port}`
}

const isReady = ({ status }: KubeObject): boolean =>
  status.conditions?.some(
    (one: { type: string; status: string }) => one.type === 'Ready' && one.status === 'True',
  ) ?? false

export type Component = 'gateway' | 'controller' | 'redis'

/** Oldest first; those on their way out too. */
export async function pods(component: Component): Promise<KubeObject[]> {
  const selector = `--selector=app.kubernetes.io/instance=${release},app.kubernetes.io/component=${component}`
  return list('pods', ...inside, selector, '--sort-by=.metadata.creationTimestamp')
}

/** Ready, and to stay. */
export async function readyPods(component: Component): Promise<KubeObject[]> {
  return (await pods(component)).filter(
    (pod) => isReady(pod) && pod.metadata['deletionTimestamp'] === undefined,
  )
}

/** Resolves when there are so many, all ready, and those that had to go are gone. */
export async function expectPods(
  component: Component,
  count: number,
  deadlineMs: number,
): Promise<KubeObject[]> {
  return eventually(
    `${count} times ${component}`,
    async () => {
      const ready = await readyPods(component)
      return ready.length === count && (await pods(component)).length === count && ready
    },
    deadlineMs,
  )
}

/** Its containers get SIGKILL at once. */
export async function kill(pod: KubeObject | undefined): Promise<void> {
  if (!pod) throw new Error('there is no such pod')
  await kubectl([
    'delete',
    `pod/${pod.metadata.name}`,
    ...inside,
    '--grace-period=0',
    '--force',
    '--wait=false',
  ])
}
