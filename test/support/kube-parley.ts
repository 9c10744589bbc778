// Parley's manifests for the API server of a test, and objects of its kinds.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { KubeRefusal, type KubeClient, type KubeObject } from './kube-client.js'
import { until } from './redis-processes.js'

const root = fileURLToPath(new URL('../../manifests', import.meta.url))

export const apiVersion = 'parley.chat/v1alpha1'

/** Returns all objects of one folder of manifests/, in the order of the files. */
export async function manifestsIn(folder: string): Promise<KubeObject[]> {
  const names = (await readdir(join(root, folder))).filter((name) => name.endsWith('.yaml')).toSorted()
  const texts = await Promise.all(names.map((name) => readFile(join(root, folder, name), 'utf8')))
  return texts.flatMap((text) =>
    parseAllDocuments(text)
      .map((document) => document.toJS() as KubeObject | null)
      .filter((object) => object !== null),
  )
}

/**
 * Installs the CRDs. Resolves when the API server serves all kinds, and its discovery document names them.
 */
export async function installCrds(client: KubeClient): Promise<void> {
  for (const crd of await manifestsIn('crds')) {
    await client.apply(crd)
    const { group, names, versions } = crd['spec']
    const path = `/apis/${group}/${versions[0].name}`
    await until(`${names.kind} served`, async () => {
      if ((await client.request('GET', `${path}/${names.plural}`)).status !== 200) return false
      // A busy API server serves a kind before its discovery document names it, and `KubeClient.pathOf` needs
      // the document.
      const { body, status } = await client.request('GET', path)
      const { resources = [] } = body as { resources?: { kind: string }[] }
      return status === 200 && resources.some(({ kind }) => kind === names.kind)
    })
  }
}

export function namespace(name: string, labels: Record<string, string> = {}): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }
}

export function chatPlan(spec: object = {}, name = 'free'): KubeObject {
  return { apiVersion, kind: 'ChatPlan', metadata: { name }, spec }
}

export function chatTenant(spec: object = {}, { name = 'acme', ns = 'default' } = {}): KubeObject {
  return {
    apiVersion,
    kind: 'ChatTenant',
    metadata: { name, namespace: ns },
    spec: { planRef: { name: 'free' }, ...spec },
  }
}

export function chatCredential(spec: object = {}, { name = 'bot', ns = 'default' } = {}): KubeObject {
  return {
    apiVersion,
    kind: 'ChatCredential',
    metadata: { name, namespace: ns },
    spec: { tenantRef: { name: 'acme' }, ...spec },
  }
}

/**
 * Returns why the API server refuses the action, as `field: message`, or as the whole message when it names
 * no field. Returns an empty list when it accepts the action.
 */
export async function refusalsOf(action: Promise<unknown>): Promise<string[]> {
  try {
    await action
    return []
  } catch (error) {
    if (!(error instanceof KubeRefusal)) throw error
    if (error.causes.length === 0) return [error.message]
    return error.causes.map(({ field = '', message = '' }) => `${field}: ${message}`)
  }
}
