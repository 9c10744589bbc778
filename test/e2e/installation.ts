// The release under test, installed from the chart with the images of the run. There is one release at a
// time, in its own namespace.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { KubeObject } from '../support/kube-client.js'
import { namespace as namespaceObject } from '../support/kube-parley.js'
import { apply, eventually, find, get, helm, kubectl, list, describeNamespace } from './cluster.js'
import { tenantNamespaces } from './tenants.js'
import { removeVolumes } from './volumes.js'

export const release = 'parley'
export const namespace = 'parley-e2e'
export const inNamespace = ['--namespace', namespace] as const

export const chart = fileURLToPath(new URL('../../charts/parley', import.meta.url))
const crds = ['chattenants', 'chatplans', 'chatcredentials'].map((plural) => `crd/${plural}.parley.chat`)

/** Much longer than a rollout takes on two busy cores. */
export const rolloutDeadlineMs = 300_000

/**
 * Splits an image name such as `docker.io/parley/parley:1` into the values of the chart. Throws when the tag
 * is missing.
 */
function imageOf(variable: string): { repository: string; tag: string } | undefined {
  const name = process.env[variable]
  if (name === undefined || name === '') return undefined
  const colon = name.lastIndexOf(':')
  if (colon < name.lastIndexOf('/')) throw new Error(`${variable} is ${name}, but its tag is missing`)
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1) }
}

/** The values of every run, in addition to ci/trial.yaml. */
function ownValues(): object {
  const redisImage = imageOf('PARLEY_REDIS_IMAGE')
  return {
    image: imageOf('PARLEY_IMAGE'),
    ...(redisImage && { redis: { embedded: { image: redisImage } } }),
  }
}

export interface InstallOptions {
  /** Path of the chart. Default: charts/parley. */
  readonly from?: string
  /** Values in addition to those of every run. Later entries override earlier ones. */
  readonly values?: readonly object[]
}

/** Installs or upgrades the release. Resolves when all its objects are ready. */
export async function install({ from = chart, values = [] }: InstallOptions = {}): Promise<void> {
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
    await helm(['upgrade', '--install', release, from, ...inNamespace, trial, ...files, ...waiting])
  } catch (error) {
    console.error(await describeNamespace(namespace))
    throw error
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Removes what an earlier run left, and creates the namespaces. Refuses a cluster with another installation.
 */
export async function resetNamespaces(): Promise<void> {
  await uninstallAll()
  // The API server enforces that the chart's pods meet the restricted Pod Security Standard.
  const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' }
  await apply(
    namespaceObject(namespace, restricted),
    ...tenantNamespaces.map((name) => namespaceObject(name)),
  )
}

export async function freshInstall(values: object): Promise<void> {
  await resetNamespaces()
  await install({ values: [values] })
}

/** Throws when another installation exists: its tenants would be deleted with the CRDs. */
async function refuseOtherInstallation(): Promise<void> {
  const crd = await find(crds[0] ?? '')
  const owner = (crd?.metadata['annotations'] as Record<string, string> | undefined)?.[
    'meta.helm.sh/release-namespace'
  ]
  if (crd && owner !== namespace)
    throw new Error(
      `Parley is already installed in this cluster (in ${owner ?? 'an unknown namespace'}). Use a cluster without it.`,
    )
}

/** Removes everything of the run, including tenants and CRDs. Throws when another installation exists. */
export async function uninstallAll(): Promise<void> {
  await refuseOtherInstallation()
  if ((await find(`namespace/${namespace}`)) !== undefined)
    await helm(['uninstall', release, ...inNamespace, '--ignore-not-found', '--wait', '--timeout=300s'])
  await kubectl(['delete', '--ignore-not-found', ...crds])
  const namespaces = [namespace, ...tenantNamespaces].map((name) => `namespace/${name}`)
  await kubectl(['delete', '--ignore-not-found', '--timeout=300s', ...namespaces])
  await removeVolumes()
}

/**
 * The URL of the gateways: PARLEY_E2E_URL, or the cluster IP of the Service, which only machines on the
 * cluster's network can reach.
 */
export async function serviceUrl(): Promise<string> {
  const named = process.env['PARLEY_E2E_URL']
  if (named) return named.replace(/\/$/, '')
  const { spec } = await get(`service/${release}-gateway`, ...inNamespace)
  return `ws://${spec.clusterIP}:${spec.ports[0].port}`
}

const isReady = ({ status }: KubeObject): boolean =>
  status.conditions?.some(
    (one: { type: string; status: string }) => one.type === 'Ready' && one.status === 'True',
  ) ?? false

export type Component = 'gateway' | 'controller' | 'redis'

/** All pods of the component, including terminating ones, oldest first. */
export async function pods(component: Component): Promise<KubeObject[]> {
  const selector = `--selector=app.kubernetes.io/instance=${release},app.kubernetes.io/component=${component}`
  return list('pods', ...inNamespace, selector, '--sort-by=.metadata.creationTimestamp')
}

/** The pods of the component that are ready and not terminating. */
export async function readyPods(component: Component): Promise<KubeObject[]> {
  return (await pods(component)).filter(
    (pod) => isReady(pod) && pod.metadata['deletionTimestamp'] === undefined,
  )
}

/** Resolves with the pods when exactly `count` exist and all of them are ready. */
export async function expectPods(
  component: Component,
  count: number,
  deadlineMs: number,
): Promise<KubeObject[]> {
  return eventually(
    `${count} ready pods of ${component}`,
    async () => {
      const ready = await readyPods(component)
      return ready.length === count && (await pods(component)).length === count && ready
    },
    deadlineMs,
  )
}

/** Deletes the pod with grace period 0, so that its containers get SIGKILL at once. */
export async function killPod(pod: KubeObject | undefined): Promise<void> {
  if (!pod) throw new Error('the pod does not exist')
  await kubectl([
    'delete',
    `pod/${pod.metadata.name}`,
    ...inNamespace,
    '--grace-period=0',
    '--force',
    '--wait=false',
  ])
}
